//! A line of JSON from a sensor: the few members that matter. Not a JSON library: `hal` has no dependencies,
//! and 256 bytes are read once. Numbers stay text, to be judged as those of all other lines.

/// What matters of an object.
#[derive(Debug, Default, PartialEq)]
pub struct Hearts<'a> {
    pub intervals: Vec<&'a str>,
    pub bpm: Option<&'a str>,
}

/// None where the line is no object, or has no intervals in it.
pub fn read(line: &str) -> Option<Hearts<'_>> {
    let mut cursor = Cursor { rest: line };
    let mut intervals = None;
    let mut bpm = None;
    cursor.take('{')?;
    if cursor.take('}').is_none() {
        loop {
            let name = cursor.string()?;
            cursor.take(':')?;
            let value = cursor.value(0)?;
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if intervals.is_none() && ["ibi", "rr", "rri"].into_iter().any(is) {
                intervals = Some(match value {
                    Value::Number(number) => vec![number],
                    Value::Numbers(numbers) => numbers,
                    Value::Other => return None,
                });
            } else if let (true, Value::Number(number)) = (is("bpm"), &value) {
                bpm = Some(*number);
            }
            if cursor.take(',').is_none() {
                break cursor.take('}')?;
            }
        }
    }
    let intervals = intervals.filter(|_| cursor.rest.trim_start().is_empty())?;
    Some(Hearts { intervals, bpm })
}

enum Value<'a> {
    Number(&'a str),
    /// A list of nothing but numbers.
    Numbers(Vec<&'a str>),
    Other,
}

/// Lists and objects inside each other; sensors need one.
const DEEPEST: usize = 8;

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// The next character that is no space, if it is this one.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(wanted)?;
        Some(())
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    /// As it is written between its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take('"')?;
        let mut escaped = false;
        let end = self.rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Some(text)
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '"' => self.string().map(|_| Value::Other),
            '[' if depth < DEEPEST => self.list(depth),
            '{' if depth < DEEPEST => self.object(depth),
            'a'..='z' => {
                let word = self.take_while(|c| c.is_ascii_lowercase())?;
                ["true", "false", "null"]
                    .contains(&word)
                    .then_some(Value::Other)
            }
            _ => {
                let number = self.take_while(|c| c.is_ascii_digit() || "+-.eE".contains(c))?;
                Some(Value::Number(number))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value<'a>> {
        let mut numbers = Some(Vec::new());
        self.take('[')?;
        if self.take(']').is_none() {
            loop {
                match (self.value(depth + 1)?, &mut numbers) {
                    (Value::Number(number), Some(numbers)) => numbers.push(number),
                    _ => numbers = None,
                }
                if self.take(',').is_none() {
                    break self.take(']')?;
                }
            }
        }
        Some(numbers.map_or(Value::Other, Value::Numbers))
    }

    fn object(&mut self, depth: usize) -> Option<Value<'a>> {
        self.take('{')?;
        if self.take('}').is_none() {
            loop {
                self.string()?;
                self.take(':')?;
                self.value(depth + 1)?;
                if self.take(',').is_none() {
                    break self.take('}')?;
                }
            }
        }
        Some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_found_among_whatever_else_is_there() {
        let line = r#" {"t":"a\"}b", "x": [1, [true, {}], null], "IBI" : 812.5,"y":{"ibi":9,"z":[]},"bpm":-7e1 } "#;
        let hearts = read(line).unwrap();
        assert_eq!(hearts.intervals, ["812.5"]);
        assert_eq!(hearts.bpm, Some("-7e1"), "judged by who asked");
        assert_eq!(
            read(r#"{"rr":[812, 805]}"#).unwrap().intervals,
            ["812", "805"]
        );
        assert_eq!(read(r#"{"rr":[]}"#).unwrap().intervals, [""; 0]);
    }

    #[test]
    fn what_is_no_whole_object_with_intervals_is_refused() {
        let deep = format!(r#"{{"x":{},"ibi":1}}"#, "[".repeat(200));
        for line in [
            "",
            "{",
            "{}",
            "{bad",
            r#"{"ibi"}"#,
            r#"{"ibi":812"#,
            r#"{"ibi":812}}"#,
            r#"{"ibi":812,}"#,
            r#"{"ibi":true}"#,
            r#"{"ibi":yes}"#,
            r#"{"rr":[812,"x"]}"#,
            r#"{"rr":[812 805]}"#,
            r#"{"rr":[812"#,
            r#"{"bpm":72}"#,
            r#"{"x":"\"#,
            &deep,
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
