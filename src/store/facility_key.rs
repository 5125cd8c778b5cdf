//! The facility's secret, from which pseudonyms are made: where it lies, and how it is made where there
//! is none. It never gets into the database.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::error::StoreError;
use crate::record::FacilityKey;

/// The credential that systemd may give.
const CREDENTIAL: &str = "facility-key";
/// The hub's own, beside its database.
const OWN_FILE: &str = "facility.key";

/// Reads the secret: from the configured file, else from systemd's credential (in `credentials`, which
/// is `$CREDENTIALS_DIRECTORY`), else the hub's own in `data_dir`, made at the first need.
///
/// # Errors
/// A file that should hold it can't be read or holds something else; the hub's own can't be written.
pub fn facility_key(
    configured: &Path,
    credentials: Option<&Path>,
    data_dir: &Path,
) -> Result<FacilityKey, StoreError> {
    if !configured.as_os_str().is_empty() {
        return read(configured);
    }
    if let Some(credential) = credentials.map(|dir| dir.join(CREDENTIAL)) {
        match read(&credential) {
            Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
    }
    let own = data_dir.join(OWN_FILE);
    match read(&own) {
        Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(&own, data_dir)
        }
        read => read,
    }
}

fn read(path: &Path) -> Result<FacilityKey, StoreError> {
    let bytes = fs::read(path).map_err(file("reading the facility's key from", path))?;
    parse(&bytes).ok_or_else(|| StoreError::FacilityKey {
        path: path.to_owned(),
    })
}

fn parse(bytes: &[u8]) -> Option<FacilityKey> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(FacilityKey(raw));
    }
    let decoded = HEXLOWER_PERMISSIVE.decode(bytes.trim_ascii()).ok()?;
    <[u8; 32]>::try_from(decoded).ok().map(FacilityKey)
}

/// On the card before anything is named with it: a key that is lost makes strangers of everybody.
fn make(path: &Path, data_dir: &Path) -> Result<FacilityKey, StoreError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    // Under another name first: a file that is only half written must not be taken for the key.
    let unfinished = data_dir.join(format!("{OWN_FILE}.new"));
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(data_dir)?.sync_all()
    };
    write().map_err(file("making the facility's key in", path))?;
    tracing::info!(
        path = %path.display(),
        "made a secret from which pseudonyms are derived: keep a copy of it in a safe place"
    );
    Ok(FacilityKey(key))
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |source| StoreError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn nowhere() -> &'static Path {
        Path::new("")
    }

    #[test]
    fn a_hub_without_a_key_makes_its_own_once_and_for_its_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let made = facility_key(nowhere(), None, dir.path()).unwrap();
        let path = dir.path().join(OWN_FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), made.0);
        assert_ne!(made, FacilityKey([0; 32]));
        assert_eq!(facility_key(nowhere(), None, dir.path()).unwrap(), made);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_configured_file_comes_before_the_credential_and_that_before_the_own() {
        let dir = tempfile::tempdir().unwrap();
        let (configured, credentials) = (dir.path().join("k"), dir.path().join("credentials"));
        let of = |configured: &Path| facility_key(configured, Some(&credentials), dir.path());
        let own = of(nowhere()).unwrap();
        fs::create_dir(&credentials).unwrap();
        assert_eq!(of(nowhere()).unwrap(), own, "systemd gives none");
        fs::write(credentials.join(CREDENTIAL), [1; 32]).unwrap();
        assert_eq!(of(nowhere()).unwrap(), FacilityKey([1; 32]));
        fs::write(&configured, format!("{}\n", "aB".repeat(32))).unwrap();
        assert_eq!(of(&configured).unwrap(), FacilityKey([0xAB; 32]));
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_word_on_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        for bad in [
            &b""[..],
            &[7; 31],
            &[7; 33],
            b"secret",
            "é".repeat(32).as_bytes(),
        ] {
            fs::write(&path, bad).unwrap();
            let error = facility_key(&path, None, dir.path())
                .unwrap_err()
                .to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
        let absent = facility_key(&dir.path().join("no"), None, dir.path());
        assert!(matches!(absent, Err(StoreError::File { .. })), "{absent:?}");
        assert!(
            !dir.path().join(OWN_FILE).exists(),
            "a wrong path makes no other key"
        );
        fs::write(dir.path().join(OWN_FILE), b"half").unwrap();
        assert!(
            facility_key(nowhere(), None, dir.path()).is_err(),
            "nor does a damaged one"
        );
    }
}
