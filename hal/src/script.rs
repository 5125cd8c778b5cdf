//! Scripted straps: what a strap would send and when, as bytes, through the real decoder.
