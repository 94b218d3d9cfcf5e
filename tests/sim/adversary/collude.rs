//! B10, a majority that gives the same wrong answer.

#[test]
fn a_majority_that_agrees_on_a_wrong_answer_earns_nothing() {
    super::check("collude", 20, 10);
}
