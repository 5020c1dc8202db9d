//! kafka-compat
