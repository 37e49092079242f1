//! What the attributes accept and how they refuse the rest.

#[test]
fn wrong_use_is_refused_where_it_stands() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
