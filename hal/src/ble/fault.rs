//! What BlueZ's errors mean and how they read. Decisions on what to do are made where they are
//! met (`radio`, `strap`).

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bluez_async::BluetoothError;

/// BlueZ's many errors by what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The D-Bus object does not exist (any more): device forgotten, adapter unplugged.
    ObjectGone,
    /// bluetoothd is not on the bus, or left it in mid-call.
    DaemonGone,
    /// The adapter is switched off or blocked by rfkill.
    AdapterOff,
    /// The same thing is already being done.
    InProgress,
    /// The strap accepted no link in time.
    NoAnswer,
    /// The strap ended the link while it was being made.
    Refused,
    /// The adapter's chip has no link left.
    LinksFull,
    /// The strap speaks only to hosts it is paired with.
    NeedsPairing,
    /// Adapter, daemon or bus went away meanwhile; the words are a sentence.
    RadioGone,
    /// No reply within the time given.
    TimedOut,
    Other,
}

/// A failed call: its class and BlueZ's own words.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    words: String,
}

impl Trouble {
    pub(super) fn new(fault: Fault, words: impl Into<String>) -> Self {
        Trouble {
            fault,
            words: words.into(),
        }
    }

    /// One sentence on why a strap has no link.
    pub(super) fn why(&self) -> String {
        match self.fault {
            Fault::ObjectGone => "the adapter no longer knows the strap".into(),
            Fault::DaemonGone => "bluetoothd is gone".into(),
            Fault::AdapterOff => "the adapter is switched off".into(),
            Fault::InProgress => "an earlier attempt to connect is still under way".into(),
            Fault::NoAnswer => format!(
                "the strap did not accept the link; is it near, worn and not held by a watch or phone? ({})",
                self.words
            ),
            Fault::Refused => format!(
                "the strap refused the link; it is probably held by another device ({})",
                self.words
            ),
            Fault::LinksFull => format!("the adapter has no link left ({})", self.words),
            Fault::NeedsPairing => format!(
                "the strap wants to be paired: pair it once with bluetoothctl ({})",
                self.words
            ),
            Fault::RadioGone => self.words.clone(),
            Fault::TimedOut => "the link was not ready in time".into(),
            Fault::Other => format!("the link could not be made ({})", self.words),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<btleplug::Error> for Trouble {
    fn from(error: btleplug::Error) -> Self {
        let words = error.to_string();
        let fault = match &error {
            btleplug::Error::DeviceNotFound => Fault::ObjectGone,
            btleplug::Error::TimedOut(_) => Fault::TimedOut,
            btleplug::Error::Other(inner) => match inner.downcast_ref::<BluetoothError>() {
                Some(BluetoothError::DbusError(e)) => {
                    classify(e.name().unwrap_or_default(), &words)
                }
                Some(BluetoothError::ServiceDiscoveryTimedOut) => Fault::TimedOut,
                _ => Fault::Other,
            },
            _ => Fault::Other,
        };
        Trouble { fault, words }
    }
}

/// Error names: `src/error.h` of BlueZ, the D-Bus specification, systemd's activation. The texts
/// of `Failed` carry the kernel's reason.
fn classify(name: &str, words: &str) -> Fault {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    match name.rsplit('.').next().unwrap_or_default() {
        "UnknownObject" | "UnknownMethod" | "UnknownInterface" | "DoesNotExist" => {
            Fault::ObjectGone
        }
        "ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Disconnected" | "UnitMasked"
        | "NoSuchUnit" | "LoadFailed" | "TimedOut" => Fault::DaemonGone,
        _ if name.contains(".DBus.Error.Spawn.") => Fault::DaemonGone,
        "Timeout" => Fault::TimedOut,
        "NotReady" | "NotPowered" | "Blocked" => Fault::AdapterOff,
        "InProgress" => Fault::InProgress,
        "NotPermitted" | "NotAuthorized" | "AuthenticationFailed" | "AuthenticationRejected" => {
            Fault::NeedsPairing
        }
        _ if says(&["concurrent-connection-limit"]) => Fault::LinksFull,
        _ if says(&["connection-refused", "abort-by-remote"]) => Fault::Refused,
        _ if says(&[
            "abort-by-local",
            "connection-timeout",
            "le-connection-unknown",
        ]) =>
        {
            Fault::NoAnswer
        }
        _ if says(&["authentication", "encryption"]) => Fault::NeedsPairing,
        _ if says(&["Not Powered", "rfkill"]) => Fault::AdapterOff,
        _ => Fault::Other,
    }
}

/// A call that is given up after `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = btleplug::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::new(
            Fault::TimedOut,
            format!("no answer for {} s", limit.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_they_ask_for() {
        let cases = [
            (
                "org.freedesktop.DBus.Error.UnknownObject",
                "",
                Fault::ObjectGone,
            ),
            (
                "org.freedesktop.DBus.Error.ServiceUnknown",
                "",
                Fault::DaemonGone,
            ),
            (
                "org.freedesktop.systemd1.UnitMasked",
                "Unit is masked",
                Fault::DaemonGone,
            ),
            (
                "org.freedesktop.DBus.Error.NoReply",
                "recipient disconnected",
                Fault::DaemonGone,
            ),
            (
                "org.freedesktop.DBus.Error.Spawn.ChildExited",
                "",
                Fault::DaemonGone,
            ),
            ("org.freedesktop.DBus.Error.Timeout", "", Fault::TimedOut),
            (
                "org.bluez.Error.Blocked",
                "Blocked through rfkill",
                Fault::AdapterOff,
            ),
            ("org.bluez.Error.InProgress", "", Fault::InProgress),
            (
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                Fault::NoAnswer,
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-refused",
                Fault::Refused,
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-concurrent-connection-limit",
                Fault::LinksFull,
            ),
            ("org.bluez.Error.NotPermitted", "", Fault::NeedsPairing),
            ("org.bluez.Error.Failed", "something else", Fault::Other),
        ];
        for (name, words, fault) in cases {
            assert_eq!(classify(name, words), fault, "{name} {words}");
        }
    }

    /// Fails to compile or to pass when btleplug moves to another bluez-async than ours.
    #[test]
    fn the_error_btleplug_boxes_is_the_one_that_is_looked_for() {
        let inner = dbus::Error::new_custom("org.bluez.Error.InProgress", "busy");
        let error = btleplug::Error::from(BluetoothError::DbusError(inner));
        assert_eq!(Trouble::from(error).fault, Fault::InProgress);
    }
}
