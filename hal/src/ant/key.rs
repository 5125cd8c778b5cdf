//! The ANT+ network key: eight bytes that are never shown.

use std::fmt;

/// The key of the network on which ANT+ straps send. Given to registered ANT+ adopters, who may not pass
/// it on: nothing here, no log and no message ever holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkKey(pub(super) [u8; 8]);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network key is written as 16 hex digits and nothing else")
    }
}

impl std::error::Error for NoKey {}

impl NetworkKey {
    /// Reads 16 hex digits; white space around and between them does not matter, nor do `:` and `-`.
    ///
    /// ```
    /// use coherence_hal::ant::NetworkKey;
    ///
    /// let key = NetworkKey::parse("01-02-03-04-05-06-07-08\n").unwrap();
    /// assert_eq!(format!("{key:?}"), "NetworkKey(not shown)");
    /// assert!(NetworkKey::parse("0102030405060708").unwrap() == key);
    /// assert!(NetworkKey::parse("01020304").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_whitespace() && !":-".contains(*c))
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits: [u8; 16] = digits
            .and_then(|digits| digits.try_into().ok())
            .ok_or(NoKey)?;
        let (pairs, _) = digits.as_chunks::<2>();
        let mut key = [0; 8];
        for (byte, [high, low]) in key.iter_mut().zip(pairs) {
            *byte = high << 4 | low;
        }
        Ok(NetworkKey(key))
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey(not shown)")
    }
}
