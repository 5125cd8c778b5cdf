//! How the source is, in sentences that say what to do.

use std::path::Path;

use crate::SourceState;

fn state(up: bool, code: &'static str, text: impl Into<String>) -> SourceState {
    SourceState {
        up,
        code,
        text: text.into(),
    }
}

/// `why` there is no key, as a sentence.
pub(super) fn no_key(why: &str) -> SourceState {
    let text = format!(
        "{why} ANT+ straps send on a network whose key is given, free of charge, to whoever registers as an \
         ANT+ adopter at thisisant.com. Put its 16 hex digits into the file that ant.key_file names, and \
         restart the hub."
    );
    state(false, "no_key", text)
}

pub(super) fn scanning() -> SourceState {
    state(
        true,
        "listening",
        "The ANT+ stick listens; no strap has been heard yet.",
    )
}

pub(super) fn listening() -> SourceState {
    state(true, "listening", "The ANT+ stick hears straps.")
}

pub(super) fn no_strap() -> SourceState {
    state(
        true,
        "no_strap",
        "The ANT+ stick has heard no strap for a minute: is one worn, with wet electrodes and within a few \
         metres? If so, the network key may be wrong.",
    )
}

pub(super) fn cannot_scan() -> SourceState {
    state(
        false,
        "cannot_scan",
        "This ANT+ stick can't hear many straps at once (it has no scan mode): use a newer one, an ANTUSB2 or \
         ANTUSB-m.",
    )
}

pub(super) fn key_refused() -> SourceState {
    state(
        false,
        "key_refused",
        "The ANT+ stick refused the network key: look at the file that ant.key_file names, and restart the hub.",
    )
}

pub(super) fn recovering() -> SourceState {
    state(
        false,
        "recovering",
        "The ANT+ stick does not answer: its port is opened anew.",
    )
}

pub(super) fn silent() -> SourceState {
    state(
        false,
        "stick_silent",
        "The ANT+ stick does not answer, and opening its port anew did not help: unplug it, wait a few \
         seconds, and plug it in again. Does ant.port name the right device?",
    )
}

pub(super) fn no_port(path: &Path) -> SourceState {
    let text = format!(
        "There is no {}: plug the ANT+ stick in, or name its port in ant.port (`ls /dev/serial/by-id` shows \
         what is there).",
        path.display()
    );
    state(false, "no_port", text)
}

pub(super) fn no_permission(path: &Path) -> SourceState {
    let text = format!(
        "The hub may not open {}: add its user to the group dialout (`usermod -aG dialout coherence-hub`) and \
         restart the hub.",
        path.display()
    );
    state(false, "no_permission", text)
}

pub(super) fn port_in_use(path: &Path) -> SourceState {
    let text = format!(
        "Another program holds {}: end it, and the hub goes on by itself.",
        path.display()
    );
    state(false, "port_in_use", text)
}

pub(super) fn port_trouble(path: &Path, why: &str) -> SourceState {
    let text = format!(
        "{} can't be opened: {why}. Unplug the ANT+ stick and plug it in again.",
        path.display()
    );
    state(false, "port_trouble", text)
}
