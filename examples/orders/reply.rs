//! Replies: how they are encoded, and the cache that keeps the latest.

use std::collections::VecDeque;
use std::sync::Mutex;

use rusqlite::Row;
use serde_json::json;
use stagelight::stage;

use crate::truth::{self, Stage};

/// What a client is told.
pub struct Reply {
    subject: &'static str,
    name: String,
    pub lines: Vec<ReplyLine>,
}

pub struct ReplyLine {
    pub text: String,
    pub quantity: i64,
    pub amount: i64,
}

/// A row of a statement whose columns are a line's.
impl TryFrom<&Row<'_>> for ReplyLine {
    type Error = rusqlite::Error;

    fn try_from(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { text: row.get(0)?, quantity: row.get(1)?, amount: row.get(2)? })
    }
}

impl Reply {
    pub fn new(subject: &'static str, name: String) -> Self {
        Self { subject, name, lines: Vec::new() }
    }
}

/// The reply as JSON, padded to whole blocks as some wire protocols want it.
#[stage(name = "encode_reply")]
pub fn encode(reply: &Reply) -> Vec<u8> {
    const BLOCK: usize = 512;
    truth::count_stage(Stage::EncodeReply);
    let lines: Vec<_> = reply
        .lines
        .iter()
        .map(|line| json!({ "text": line.text, "quantity": line.quantity, "amount": line.amount }))
        .collect();
    let object = json!({ "subject": reply.subject, "name": reply.name, "lines": lines });
    let mut encoded = object.to_string().into_bytes();
    encoded.resize(encoded.len().next_multiple_of(BLOCK), b' ');
    encoded
}

/// A tenant's latest replies, for clients that ask again. It is bounded, but what the bound is worth in bytes
/// only the heap profile tells.
pub struct ReplyCache {
    replies: Mutex<VecDeque<Vec<u8>>>,
    capacity: usize,
}

impl ReplyCache {
    pub fn new(capacity: usize) -> Self {
        Self { replies: Mutex::new(VecDeque::new()), capacity }
    }

    pub fn keep(&self, reply: Vec<u8>) {
        let mut replies = self.replies.lock().expect("nobody panics while holding it");
        if replies.len() == self.capacity {
            replies.pop_front();
        }
        replies.push_back(reply);
    }
}
