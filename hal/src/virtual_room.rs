//! Scripted hearts.
