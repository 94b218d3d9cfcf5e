//! Tests of signing, limits and round trips of the messages.
