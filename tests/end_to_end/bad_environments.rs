//! `cargo xtask up` where something is wrong: one line that says what to do, and an exit code that is not 0.
