//! B5 and B6, memory in place of a model.

#[test]
fn a_memory_of_past_items_earns_nothing() {
    super::check("memorise", 40, 10);
}
