//! Which strap is it (PURE): the id under which a strap is known when it comes back.
//!
//! Nearly always its address. Some change it every quarter of an hour (a resolvable private
//! address, as phones do); such a strap is known by its name, if the name carries the number printed
//! on it. Two straps that only share a model's name stay two.

use btleplug::api::{AddressType, BDAddr};

use crate::StrapId;

const TRANSPORT: &str = "ble";

pub(super) fn strap_id(address: BDAddr, kind: Option<AddressType>, name: Option<&str>) -> StrapId {
    let changes = kind == Some(AddressType::Random) && is_resolvable(address);
    match name.map(clean) {
        Some(name) if changes && carries_id(&name) => {
            StrapId::new(TRANSPORT, &format!("name:{name}"))
        }
        _ => StrapId::new(TRANSPORT, &address.to_string()),
    }
}

/// A text that a device said, without control characters, of bounded length; None for an empty one.
pub(super) fn text_of(bytes: &[u8]) -> Option<String> {
    Some(clean(&String::from_utf8_lossy(bytes))).filter(|text| !text.is_empty())
}

/// Longer than any name or number of a strap that is known.
const LONGEST_TEXT: usize = 64;

pub(super) fn clean(text: &str) -> String {
    // Format characters (directions, joiners) would garble a list of straps as control characters do.
    let shown = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
    };
    let text: String = text.chars().filter(shown).take(LONGEST_TEXT).collect();
    text.trim().to_owned()
}

/// The two top bits of a random address: 11 static, 01 resolvable (it changes), 00 neither.
fn is_resolvable(address: BDAddr) -> bool {
    address.into_inner()[0] >> 6 == 0b01
}

/// "Polar H10 8C2F1A21", "HRM-Dual:123456", "TICKR 12AB": the last word is the strap's own number.
/// A short one may as well be a model's, so elsewhere it takes six digits.
fn carries_id(name: &str) -> bool {
    let Some((model, id)) = name.rsplit_once([' ', ':']) else {
        return false;
    };
    let shortest = if model.starts_with("TICKR") { 4 } else { 6 };
    id.len() >= shortest
        && id.bytes().all(|b| b.is_ascii_hexdigit())
        && id.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATIC: [u8; 6] = [0xd0, 0x5f, 0xb8, 0, 0, 1];
    const RESOLVABLE: [u8; 6] = [0x50, 0x5f, 0xb8, 0, 0, 1];

    fn id(address: [u8; 6], kind: AddressType, name: Option<&str>) -> String {
        strap_id(address.into(), Some(kind), name)
            .as_str()
            .to_owned()
    }

    #[test]
    fn a_lasting_address_is_the_id_whatever_the_name() {
        let named = Some("Polar H10 8C2F1A21");
        let lasting = "ble:D0:5F:B8:00:00:01";
        assert_eq!(id(STATIC, AddressType::Random, named), lasting);
        assert_eq!(id(STATIC, AddressType::Public, named), lasting);
        // Of public addresses the top bits say nothing.
        assert_eq!(
            id(RESOLVABLE, AddressType::Public, named),
            "ble:50:5F:B8:00:00:01"
        );
    }

    #[test]
    fn a_changing_address_with_a_number_in_the_name_is_known_by_the_name() {
        for name in [
            "Polar H10 8C2F1A21",
            "HRM-Dual:123456",
            "TICKR 12AB",
            "HRM-Pro:000042",
        ] {
            assert_eq!(
                id(RESOLVABLE, AddressType::Random, Some(name)),
                format!("ble:name:{name}")
            );
        }
    }

    #[test]
    fn a_bare_name_never_merges_two() {
        for name in [
            "Polar H10",
            "HRM-Dual",
            "TICKR",
            "TICKR FADE",
            "Band 2024",
            "decade facade",
            "",
        ] {
            let id = id(RESOLVABLE, AddressType::Random, Some(name));
            assert_eq!(id, "ble:50:5F:B8:00:00:01", "{name}");
        }
        assert_eq!(
            id(RESOLVABLE, AddressType::Random, None),
            "ble:50:5F:B8:00:00:01"
        );
    }

    #[test]
    fn texts_are_cleaned_and_bounded() {
        assert_eq!(
            text_of(b"Polar\0\x1b[31m H10\n\0"),
            Some("Polar[31m H10".into())
        );
        assert_eq!(text_of(&[0xff, b'A', 0xe2, 0x80, 0xae]), Some("A".into()));
        assert_eq!(text_of(b"\0\0  \r\n"), None);
        assert_eq!(
            text_of(&[b'x'; 500]).map(|text| text.len()),
            Some(LONGEST_TEXT)
        );
    }
}
