//! Why there is no connection, each cause in one sentence that says what to do: the log and
//! `/health` show it as it is. No secret is ever part of one.

use std::io;
use std::path::PathBuf;

use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

const PACKET_TOO_LARGE: u8 = 149;

/// Why a connection did not come about, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    #[error("{} ({key}) can't be used: {why}", path.display())]
    File {
        key: &'static str,
        path: PathBuf,
        why: String,
    },
    #[error(
        "the broker's name {host} can't be resolved: {why}; is the network there, and uplink.broker right?"
    )]
    Resolve { host: String, why: String },
    #[error("nobody listens at {broker}: is the broker running, and uplink.broker right?")]
    Refused { broker: String },
    #[error("{broker} can't be reached: {why}")]
    Unreachable { broker: String, why: String },
    #[error("{broker} does not answer")]
    Silent { broker: String },
    #[error("the broker's certificate has expired: it needs a new one")]
    Expired,
    #[error(
        "the broker's certificate is not valid yet: it is dated in the future, or this hub's clock is behind"
    )]
    NotYetValid,
    #[error(
        "the broker's certificate is not for {host}: write uplink.broker as the certificate names it, or have it made for that name"
    )]
    WrongName { host: String },
    #[error(
        "nobody in uplink.ca_file vouches for the broker's certificate: the authority that signed it must be in that file"
    )]
    UnknownAuthority,
    #[error("the broker's certificate can't be used: {0}")]
    BadCertificate(String),
    #[error("the broker wants this hub's certificate: give uplink.cert_file and uplink.key_file")]
    CertificateWanted,
    #[error(
        "the broker does not accept this hub's certificate ({0}): is it signed by the broker's authority, and still valid?"
    )]
    CertificateRefused(String),
    #[error("{broker} does not speak TLS as this hub does: {why}")]
    Tls { broker: String, why: String },
    #[error(
        "the broker does not accept the user name or password: see uplink.username and uplink.password_file"
    )]
    Password,
    #[error(
        "the broker does not let this hub in: its name there is {name}, see uplink.name, uplink.username and the broker's rules"
    )]
    NotLetIn { name: String },
    #[error("the broker does not speak MQTT 5")]
    OldProtocol,
    #[error(
        "another client uses this hub's name at the broker: each hub needs its own (uplink.name)"
    )]
    TakenOver,
    #[error("the broker sent it away: {0}")]
    SentAway(String),
    #[error(
        "the broker denies reading {topic}, where acknowledgements come: its rules must let this hub read it"
    )]
    AcksDenied { topic: String },
    #[error(
        "the broker takes no packets as large as this hub's: its message_size_limit is too low"
    )]
    TooLarge,
    #[error("the broker took no message for a minute and a half")]
    Stalled,
    #[error("the connection ended: {0}")]
    Lost(String),
    #[error("no private socket can be made: {0}")]
    Socket(String),
}

impl Cause {
    /// Whether a clock that is wrong would explain it.
    pub fn may_be_the_clock(&self) -> bool {
        matches!(self, Cause::Expired | Cause::NotYetValid)
    }

    /// What a failed TLS handshake says.
    pub fn of_handshake(error: &io::Error, host: &str, broker: &str) -> Cause {
        let tls = |why: String| Cause::Tls {
            broker: broker.to_owned(),
            why,
        };
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(why)) => Cause::of_certificate(why, host),
            Some(rustls::Error::AlertReceived(alert)) => {
                Cause::of_alert(*alert).unwrap_or_else(|| tls(format!("it refused with {alert:?}")))
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                tls("what it sent is no TLS; is that its TLS port?".to_owned())
            }
            Some(other) => tls(other.to_string()),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    tls("it closed the connection; is that its TLS port?".to_owned())
                }
                _ => Cause::Lost(plain(error)),
            },
        }
    }

    /// What a stream that ended says more precisely than the MQTT client on top of it: a broker that
    /// does not like our certificate says so only after the handshake.
    pub fn of_stream(error: &io::Error) -> Option<Cause> {
        match tls_error(error)? {
            rustls::Error::AlertReceived(alert) => Cause::of_alert(*alert),
            _ => None,
        }
    }

    fn of_certificate(why: &CertificateError, host: &str) -> Cause {
        use CertificateError as Bad;
        match why {
            Bad::Expired | Bad::ExpiredContext { .. } => Cause::Expired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => Cause::NotYetValid,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Cause::WrongName {
                host: host.to_owned(),
            },
            // A certificate that signed itself is not signed by anybody in the file.
            Bad::UnknownIssuer => Cause::UnknownAuthority,
            other => Cause::BadCertificate(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Option<Cause> {
        use AlertDescription as Alert;
        match alert {
            Alert::CertificateRequired | Alert::NoCertificate => Some(Cause::CertificateWanted),
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::AccessDenied => Some(Cause::CertificateRefused(format!("{alert:?}"))),
            _ => None,
        }
    }

    /// What the MQTT client says; `name`: this hub's at the broker.
    pub fn of_mqtt(error: &ConnectionError, name: &str, broker: &str) -> Cause {
        match error {
            ConnectionError::ConnectionRefused(code) => match code {
                ConnectReturnCode::BadUserNamePassword => Cause::Password,
                // Mosquitto's word for a wrong password, too.
                ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::BadClientId => Cause::NotLetIn {
                    name: name.to_owned(),
                },
                ConnectReturnCode::UnsupportedProtocolVersion
                | ConnectReturnCode::RefusedProtocolVersion => Cause::OldProtocol,
                other => Cause::SentAway(format!("{other:?}")),
            },
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                match reason_code {
                    DisconnectReasonCode::SessionTakenOver => Cause::TakenOver,
                    DisconnectReasonCode::NotAuthorized => Cause::NotLetIn {
                        name: name.to_owned(),
                    },
                    other => Cause::SentAway(format!("{other:?}")),
                }
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Cause::Lost("the broker closed it; its log says why".to_owned())
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) | ConnectionError::Timeout(_) => {
                Cause::Silent {
                    broker: broker.to_owned(),
                }
            }
            ConnectionError::MqttState(StateError::Io(error)) | ConnectionError::Io(error) => {
                Cause::Lost(plain(error))
            }
            // As the answer to a publication; to the client it is no code that it knows.
            ConnectionError::MqttState(StateError::Deserialization(
                MqttError::InvalidConnectReturnCode(PACKET_TOO_LARGE),
            )) => Cause::TooLarge,
            other => Cause::Lost(other.to_string()),
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Without "(os error 111)".
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_explains_is_told_apart_from_what_it_does_not() {
        assert!(Cause::NotYetValid.may_be_the_clock() && Cause::Expired.may_be_the_clock());
        assert!(!Cause::UnknownAuthority.may_be_the_clock());
    }

    #[test]
    fn each_answer_of_the_broker_has_its_own_sentence() {
        let refused = |code| {
            let error = ConnectionError::ConnectionRefused(code);
            Cause::of_mqtt(&error, "hub-7", "mqtt://b:1883")
        };
        assert_eq!(
            refused(ConnectReturnCode::BadUserNamePassword),
            Cause::Password
        );
        assert!(
            refused(ConnectReturnCode::NotAuthorized)
                .to_string()
                .contains("hub-7")
        );
        let taken = ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        });
        assert_eq!(Cause::of_mqtt(&taken, "hub-7", "b"), Cause::TakenOver);
    }

    #[test]
    fn a_port_without_tls_is_called_that() {
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        let text = Cause::of_handshake(&end, "b", "mqtts://b:1883").to_string();
        assert!(text.contains("its TLS port?"), "{text}");
    }

    #[test]
    fn numbers_of_errors_are_left_out() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&refused), "Connection refused");
    }
}
