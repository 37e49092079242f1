//! Threads that live through several jobs, so that what a job leaves in them can be looked at in between.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

type Job = Arc<dyn Fn(usize) + Send + Sync>;

pub struct Crew {
    orders: Vec<Sender<Job>>,
    done: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    pub fn new(count: usize) -> Self {
        let (report, done) = channel();
        let mut orders = Vec::new();
        let threads = (0..count).map(|index| {
            let (order, jobs) = channel::<Job>();
            orders.push(order);
            let report = report.clone();
            std::thread::spawn(move || {
                for job in jobs {
                    job(index);
                    let _ = report.send(());
                }
            })
        });
        let threads = threads.collect();
        let crew = Self { orders, done, threads };
        // Once around, so that all threads are there and have their stacks.
        crew.run(|_| ());
        crew
    }

    /// Has each thread do the job with its index, and waits for all.
    pub fn run(&self, job: impl Fn(usize) + Send + Sync + 'static) {
        self.start(job);
        self.wait();
    }

    /// Has each thread start the job.
    pub fn start(&self, job: impl Fn(usize) + Send + Sync + 'static) {
        let job: Job = Arc::new(job);
        for order in &self.orders {
            let _ = order.send(job.clone());
        }
    }

    /// Waits for the job that was started.
    pub fn wait(&self) {
        for _ in &self.orders {
            self.done.recv().expect("a job does not panic");
        }
    }

    pub fn len(&self) -> usize {
        self.orders.len()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.orders.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
