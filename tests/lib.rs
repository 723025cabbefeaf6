//! The tests are in `end_to_end`; this library is empty.
