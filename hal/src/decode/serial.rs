//! Text sensors: bytes of a serial port to intervals, by the profile that was configured for it.
//!
//! Here: what a profile's lines mean. Splitting bytes into lines is `lines`', JSON is read in `json`. PURE:
//! no port and no clock. Nothing is repaired: a line that doesn't fit is counted, and the next one is read.

mod json;
mod lines;

use std::fmt;
use std::str::FromStr;

use crate::Rr;
use lines::{Line, Lines};

/// Sensors that one port can carry as `pulsesensor-multi`: `A` to `L` are rates, `M` on are intervals.
const MOST_SENSORS: u8 = 12;

/// How a sensor writes. It can't be guessed: the same letters mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// PulseSensor Playground, PROCESSING_VISUALIZER, one sensor: `S` sample, `B` rate, `Q` interval.
    PulseSensor,
    /// The same with several sensors.
    PulseSensorMulti(u8),
    /// An interval a line: `812`, `IBI:812`, `RR 799 ms`, `millis,812`, `{"ibi":812}`, `{"rr":[812,805]}`.
    IbiLines,
    /// `signal,bpm,ibi,beat`; the interval counts where `beat` is 1.
    Csv4,
    /// `PSWS,version,LIVE or SIM,…` of PulseSensor's newer tools.
    Psws,
}

impl Profile {
    /// As an admin reads which there are.
    pub const NAMES: &str =
        "pulsesensor, pulsesensor-multi:N (N sensors, 1 to 12), ibi-lines, csv4, psws";

    /// Hearts that a port of this profile can carry.
    pub fn sensors(self) -> u8 {
        match self {
            Profile::PulseSensorMulti(sensors) => sensors,
            Profile::PulseSensor | Profile::IbiLines | Profile::Csv4 | Profile::Psws => 1,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Profile::PulseSensor => f.write_str("pulsesensor"),
            Profile::PulseSensorMulti(sensors) => write!(f, "pulsesensor-multi:{sensors}"),
            Profile::IbiLines => f.write_str("ibi-lines"),
            Profile::Csv4 => f.write_str("csv4"),
            Profile::Psws => f.write_str("psws"),
        }
    }
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProfile;

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profiles are {}", Profile::NAMES)
    }
}

impl std::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(word: &str) -> Result<Self, UnknownProfile> {
        match word {
            "pulsesensor" => Ok(Profile::PulseSensor),
            "ibi-lines" => Ok(Profile::IbiLines),
            "csv4" => Ok(Profile::Csv4),
            "psws" => Ok(Profile::Psws),
            _ => word
                .strip_prefix("pulsesensor-multi:")
                .and_then(|sensors| sensors.parse().ok())
                .filter(|sensors| (1..=MOST_SENSORS).contains(sensors))
                .map(Profile::PulseSensorMulti)
                .ok_or(UnknownProfile),
        }
    }
}

/// What a line said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    Ibi {
        sensor: u8,
        rr: Rr,
        /// The library's own number after a pause, which no heart has beaten.
        filler: bool,
    },
    /// 0: no value.
    Bpm { sensor: u8, bpm: f64 },
    /// There is no heart: the device plays one.
    Simulated,
}

/// What has become of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Fit the profile, whether or not there was an interval in them.
    pub good: u64,
    pub bad: u64,
    /// Of the bad ones, those that look like PulseSensor's SERIAL_PLOTTER: `bpm,ibi,sample`.
    pub plotter: u64,
    /// More than 256 bytes.
    pub long: u64,
}

/// Reads what one port says, in pieces of any size.
///
/// ```
/// use coherence_hal::Rr;
/// use coherence_hal::decode::serial::{Profile, Reading, SerialDecoder};
///
/// let mut sensor = SerialDecoder::new(Profile::IbiLines);
/// let mut readings = Vec::new();
/// sensor.feed(b"half a line\nIBI:81", &mut readings);
/// let tally = sensor.feed(b"2\nhello\n", &mut readings);
/// assert_eq!(readings, [Reading::Ibi { sensor: 0, rr: Rr::Ms(812.0), filler: false }]);
/// assert_eq!((tally.good, tally.bad), (1, 1));
/// ```
#[derive(Clone, Debug)]
pub struct SerialDecoder {
    profile: Profile,
    lines: Lines,
    /// By sensor, the rate that was told since the last interval.
    rates: Vec<Option<f64>>,
}

impl SerialDecoder {
    /// At the beginning of a stream: its first line may be cut and is dropped.
    pub fn new(profile: Profile) -> Self {
        SerialDecoder {
            profile,
            lines: Lines::default(),
            rates: vec![None; usize::from(profile.sensors())],
        }
    }

    pub fn feed(&mut self, bytes: &[u8], readings: &mut Vec<Reading>) -> Tally {
        let mut tally = Tally::default();
        let SerialDecoder {
            profile,
            lines,
            rates,
        } = self;
        lines.feed(bytes, |line| {
            let Line::Whole(line) = line else {
                tally.long += 1;
                return;
            };
            // A line that fails half-way has said nothing.
            let before = readings.len();
            let text = std::str::from_utf8(line)
                .ok()
                .filter(|text| text.is_ascii());
            let text = text.map(str::trim);
            if text
                .and_then(|text| read(*profile, text, rates, readings))
                .is_some()
            {
                tally.good += 1;
            } else {
                readings.truncate(before);
                tally.bad += 1;
                tally.plotter += u64::from(text.is_some_and(is_plotter));
            }
        });
        tally
    }

    /// The unfinished last line.
    pub fn pending(&self) -> &[u8] {
        self.lines.pending()
    }
}

/// None where the line doesn't fit the profile.
fn read(
    profile: Profile,
    text: &str,
    rates: &mut [Option<f64>],
    readings: &mut Vec<Reading>,
) -> Option<()> {
    match profile {
        Profile::PulseSensor => {
            let (kind, value) = letter_and_number(text)?;
            match kind {
                b'S' => {}
                b'B' => tell_rate(0, value, rates, readings),
                b'Q' => tell_interval(0, value, rates, readings),
                _ => return None,
            }
        }
        Profile::PulseSensorMulti(sensors) => {
            let (kind, value) = letter_and_number(text)?;
            let sensor = |first: u8| kind.checked_sub(first).filter(|sensor| *sensor < sensors);
            if let Some(sensor) = sensor(b'A') {
                tell_rate(sensor, value, rates, readings);
            } else if let Some(sensor) = sensor(b'M') {
                tell_interval(sensor, value, rates, readings);
            } else {
                sensor(b'a')?;
            }
        }
        Profile::IbiLines => ibi_line(text, readings)?,
        Profile::Csv4 => {
            let [signal, bpm, ibi, beat] = fields(text)?;
            number(signal)?;
            table_row(bpm, ibi, beat, readings)?;
        }
        Profile::Psws => psws(text, readings)?,
    }
    Some(())
}

fn tell_rate(sensor: u8, bpm: f64, rates: &mut [Option<f64>], readings: &mut Vec<Reading>) {
    rates[usize::from(sensor)] = Some(bpm);
    readings.push(Reading::Bpm { sensor, bpm });
}

fn tell_interval(sensor: u8, ms: f64, rates: &mut [Option<f64>], readings: &mut Vec<Reading>) {
    let bpm = rates[usize::from(sensor)].take();
    readings.push(interval(sensor, ms, bpm));
}

/// `bpm`: the rate that came with it.
fn interval(sensor: u8, ms: f64, bpm: Option<f64>) -> Reading {
    // What the library starts with, and sets 2.5 s after the last beat; the rate is then 0.
    let filler = bpm == Some(0.0) && (ms == 600.0 || ms == 750.0);
    Reading::Ibi {
        sensor,
        rr: Rr::Ms(ms),
        filler,
    }
}

fn letter_and_number(text: &str) -> Option<(u8, f64)> {
    let kind = *text.as_bytes().first()?;
    Some((kind, number(&text[1..])?))
}

fn ibi_line(text: &str, readings: &mut Vec<Reading>) -> Option<()> {
    if text.starts_with('{') {
        let json::Hearts { intervals, bpm } = json::read(text)?;
        for interval_ms in intervals {
            readings.push(interval(0, number(interval_ms)?, None));
        }
        if let Some(bpm) = bpm.and_then(number) {
            readings.push(Reading::Bpm { sensor: 0, bpm });
        }
        return Some(());
    }
    let ms = match text.split_once([',', ';']) {
        Some((sender_ms, ibi)) => {
            digits(sender_ms.trim())?;
            ibi.trim()
        }
        None => unlabelled(text),
    };
    let ms = ms.strip_suffix("ms").map_or(ms, str::trim_end);
    readings.push(interval(0, number(ms)?, None));
    Some(())
}

/// Without `IBI:`, `RR=`, `rri ` and the like before it.
fn unlabelled(text: &str) -> &str {
    let name = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let known = ["ibi", "rr", "rri"]
        .iter()
        .any(|label| label.eq_ignore_ascii_case(&text[..name]));
    let value = text[name..].trim_start_matches([':', '=', ' ', '\t']);
    // A label touching its number is none.
    if known && value.len() < text.len() - name {
        value
    } else {
        text
    }
}

fn psws(text: &str, readings: &mut Vec<Reading>) -> Option<()> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [
        tag,
        version,
        mode,
        sequence,
        time_ms,
        signal,
        bpm,
        ibi,
        beat,
        quality,
        _state,
        ..,
    ] = parts[..]
    else {
        return None;
    };
    let whole = matches!((version, parts.len()), ("1", 11) | ("2", 18));
    if tag != "PSWS" || !whole {
        return None;
    }
    digits(sequence)?;
    digits(time_ms)?;
    number(signal)?;
    number(quality)?;
    match mode {
        "LIVE" => table_row(bpm, ibi, beat, readings),
        "SIM" => {
            table_row(bpm, ibi, beat, &mut Vec::new())?;
            readings.push(Reading::Simulated);
            Some(())
        }
        _ => None,
    }
}

/// The end of a row that says in its last field whether there was a beat.
fn table_row(bpm: &str, ibi: &str, beat: &str, readings: &mut Vec<Reading>) -> Option<()> {
    let (bpm, ms) = (number(bpm)?, number(ibi)?);
    match beat {
        "0" => {}
        "1" => readings.push(interval(0, ms, Some(bpm))),
        _ => return None,
    }
    Some(())
}

fn is_plotter(text: &str) -> bool {
    fields::<3>(text).is_some_and(|fields| fields.iter().all(|field| number(field).is_some()))
}

fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    parts.try_into().ok()
}

/// 1 to 6 digits and at most 4 behind the point; everything else is damage.
fn number(text: &str) -> Option<f64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let fits = |part: &str, most| {
        (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    if !fits(whole, 6) || !fraction.is_none_or(|fraction| fits(fraction, 4)) {
        return None;
    }
    text.parse().ok()
}

/// A counter or a clock of the sender's, of any length.
fn digits(text: &str) -> Option<()> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(profile: Profile, text: &str) -> Vec<Reading> {
        let mut readings = Vec::new();
        let tally =
            SerialDecoder::new(profile).feed(format!("\n{text}\n").as_bytes(), &mut readings);
        assert_eq!((tally.bad, tally.long), (0, 0), "{text:?}");
        readings
    }

    fn refused(profile: Profile, line: &str) -> Tally {
        let mut readings = Vec::new();
        let tally =
            SerialDecoder::new(profile).feed(format!("\n{line}\n").as_bytes(), &mut readings);
        assert_eq!(
            (tally.bad, readings.len()),
            (1, 0),
            "{line:?}: {readings:?}"
        );
        tally
    }

    fn beat(ms: f64) -> Reading {
        interval(0, ms, None)
    }

    #[test]
    fn every_profile_is_found_by_the_name_it_shows() {
        for profile in [
            Profile::PulseSensor,
            Profile::PulseSensorMulti(1),
            Profile::PulseSensorMulti(12),
            Profile::IbiLines,
            Profile::Csv4,
            Profile::Psws,
        ] {
            assert_eq!(profile.to_string().parse(), Ok(profile));
            let kind = profile.to_string();
            let kind = kind.split(':').next().unwrap();
            assert!(Profile::NAMES.contains(kind));
        }
        for wrong in [
            "",
            "csv",
            "pulsesensor-multi",
            "pulsesensor-multi:0",
            "pulsesensor-multi:13",
        ] {
            assert_eq!(wrong.parse::<Profile>(), Err(UnknownProfile), "{wrong:?}");
        }
    }

    #[test]
    fn an_interval_that_the_library_made_up_after_a_pause_is_marked_and_the_next_is_not() {
        let fillers = |profile, text| -> Vec<bool> {
            let said = readings(profile, text);
            let filler = |reading: &Reading| match reading {
                Reading::Ibi { filler, .. } => Some(*filler),
                _ => None,
            };
            said.iter().filter_map(filler).collect()
        };
        let one = "B70\nQ600\nB0\nQ600\nB0\nQ750\nB71\nQ750\nQ600\nB0\nQ812";
        assert_eq!(
            fillers(Profile::PulseSensor, one),
            [false, true, true, false, false, false]
        );
        let two = "A0\nB60\nN600\nM600";
        assert_eq!(fillers(Profile::PulseSensorMulti(2), two), [false, true]);
        assert_eq!(
            fillers(Profile::Csv4, "512,0,600,1\n512,80,750,1"),
            [true, false]
        );
    }

    #[test]
    fn makers_may_write_an_interval_as_they_like() {
        for line in [
            "812",
            "812 ms",
            "812ms",
            "  812.0",
            "IBI:812",
            "ibi = 812",
            "RR:\t812 ms",
            "Rri 812",
            "99,812",
            "4294967295;812ms",
            "{\"rr\": [812]}",
            "{ \"IBI\" : 812.00 }",
        ] {
            assert_eq!(readings(Profile::IbiLines, line), [beat(812.0)], "{line:?}");
        }
        for line in [
            "IBI812",
            "ibi:",
            "HR:72",
            "812 s",
            "8 12",
            "812.",
            ".5",
            "1,2,3",
            "-5,812",
            "812,",
            "+812",
            "8e2",
            "{\"ibi\":-5}",
            "{\"ibi\":8e2}",
            "{\"ibi\":\"812\"}",
            "{\"rr\":[812,true]}",
            "{\"bpm\":72}",
            "{}",
            "[812]",
        ] {
            refused(Profile::IbiLines, line);
        }
    }

    #[test]
    fn a_simulated_heart_is_never_a_beat() {
        let line = "PSWS,1,SIM,10,1000,512,74,812,0,90,OK";
        assert_eq!(readings(Profile::Psws, line), [Reading::Simulated]);
        for wrong in [
            "PSWS,1,PLAY,10,1000,512,74,812,1,90,OK",
            "PSWS,3,LIVE,10,1000,512,74,812,1,90,OK",
            "PSWS,2,LIVE,10,1000,512,74,812,1,90,OK",
            "PSWS,1,SIM,10,1000,512,74,8x2,1,90,OK",
        ] {
            refused(Profile::Psws, wrong);
        }
    }

    #[test]
    fn lines_for_a_plotter_are_known_in_every_profile() {
        for profile in [
            Profile::PulseSensor,
            Profile::PulseSensorMulti(2),
            Profile::IbiLines,
            Profile::Csv4,
            Profile::Psws,
        ] {
            assert_eq!(refused(profile, "72,834,512").plotter, 1, "{profile}");
            assert_eq!(refused(profile, "hello").plotter, 0, "{profile}");
        }
    }
}
