//! C5, forged, altered and replayed receipts.

#[test]
fn no_false_receipt_is_taken() {
    super::check("receipts", 200, 6);
}
