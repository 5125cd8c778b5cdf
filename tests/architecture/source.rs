//! As much of Rust as the rules need: words and paths with their lines, without comments and
//! literals, and whether they stand in test code. What a path means is for `rules`.

/// A file, read.
pub struct Source {
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    line: usize,
    in_test: bool,
    /// Names of the `mod name { … }` blocks around it.
    inline: Vec<String>,
}

/// A path as it is written out, groups resolved: `crate::{a, b::c}` is two.
#[derive(Debug)]
pub struct PathUse {
    /// First the root: `crate` for this crate (whether by `crate`, `super` or its name), or the
    /// root that was asked for.
    pub parts: Vec<String>,
    pub line: usize,
    pub in_test: bool,
}

impl Source {
    pub fn read(text: &str) -> Self {
        let mut tokens = words(&blank(text));
        mark_tests(&mut tokens);
        mark_inline_modules(&mut tokens);
        Source { tokens }
    }

    /// Each identifier: text, line, in test code.
    pub fn idents(&self) -> impl Iterator<Item = (&str, usize, bool)> {
        self.tokens
            .iter()
            .filter(|token| is_ident(&token.text))
            .map(|token| (token.text.as_str(), token.line, token.in_test))
    }

    /// Lines of live code where these tokens stand in a row.
    pub fn lines_of(&self, row: &[&str]) -> Vec<usize> {
        self.tokens
            .windows(row.len())
            .filter(|window| {
                window
                    .iter()
                    .zip(row)
                    .all(|(token, text)| token.text == *text)
            })
            .filter(|window| !window[0].in_test)
            .map(|window| window[0].line)
            .collect()
    }

    /// Names of `mod name` in order.
    pub fn modules(&self) -> Vec<String> {
        self.tokens
            .windows(2)
            .filter(|pair| pair[0].text == "mod" && is_ident(&pair[1].text))
            .map(|pair| pair[1].text.clone())
            .collect()
    }

    /// Paths of this crate (the file being module `here` of it) and of `std`.
    pub fn paths(&self, here: &[String]) -> Vec<PathUse> {
        let mut found = Vec::new();
        for (i, token) in self.tokens.iter().enumerate() {
            let begins = i == 0 || self.text(i - 1) != "::";
            let mut module: Vec<String> = vec!["crate".into()];
            module.extend(here.iter().chain(&token.inline).cloned());
            let base = match token.text.as_str() {
                "crate" | "coherence_hub" => vec!["crate".into()],
                "super" => module[..module.len().saturating_sub(1).max(1)].to_vec(),
                "self" => module,
                "std" | "core" => vec!["std".into()],
                _ => continue,
            };
            // `self` alone is a method's receiver, `crate` alone is in `pub(crate)`.
            if begins && self.text(i + 1) == "::" {
                self.path(i + 2, base, &mut found);
            }
        }
        found
    }

    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| &token.text)
    }

    /// What follows `base::`; returns where it ends.
    fn path(&self, mut i: usize, mut base: Vec<String>, found: &mut Vec<PathUse>) -> usize {
        let line = self.tokens.get(i).map_or(0, |token| token.line);
        loop {
            match self.text(i) {
                "{" => {
                    i += 1;
                    while !["}", ""].contains(&self.text(i)) {
                        i = self.path(i, base.clone(), found);
                        while ![",", "}", ""].contains(&self.text(i)) {
                            i += 1; // `as name`
                        }
                        if self.text(i) == "," {
                            i += 1;
                        }
                    }
                    return i + 1;
                }
                "super" => drop(base.pop()),
                "self" => {}
                part if is_ident(part) || part == "*" => base.push(part.into()),
                _ => break, // a turbofish
            }
            i += 1;
            if self.text(i) != "::" {
                break;
            }
            i += 1;
        }
        found.push(PathUse {
            parts: base,
            line,
            in_test: self
                .tokens
                .get(i.saturating_sub(1))
                .is_some_and(|t| t.in_test),
        });
        i
    }
}

fn is_ident(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The text with comments and literals made blank; lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    while i < chars.len() {
        let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let end = match at(i) {
            '/' if at(i + 1) == '/' => (i..chars.len()).find(|&j| at(j) == '\n'),
            '/' if at(i + 1) == '*' => Some(end_of_comment(&chars, i)),
            '"' => Some(end_of_quote(&chars, i, '"')),
            'r' if !word_before || at(i - 1) == 'b' => end_of_raw(&chars, i),
            // 'c' or '\n', but not the lifetime 'c.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => Some(end_of_quote(&chars, i, '\'')),
            _ => {
                out.push(at(i));
                i += 1;
                continue;
            }
        };
        // A line comment at the end of the file; or an `r` that begins no raw string.
        let end = end.unwrap_or(if at(i) == 'r' { i } else { chars.len() });
        if end == i {
            out.push('r');
            i += 1;
        }
        while i < end {
            out.push(if at(i) == '\n' { '\n' } else { ' ' });
            i += 1;
        }
    }
    out
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_quote(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 1,
            c if c == quote => return i + 1,
            _ => {}
        }
        i += 1;
    }
    chars.len()
}

/// `r"…"` or `r#"…"#`; none if the `r` begins something else.
fn end_of_raw(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |i: &usize| {
        chars[*i] == '"'
            && chars.len() > i + hashes
            && chars[i + 1..=i + hashes].iter().all(|c| *c == '#')
    };
    let close = (open + 1..chars.len()).find(closes);
    Some(close.map_or(chars.len(), |i| i + 1 + hashes))
}

fn words(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            if c.is_whitespace() {
                continue;
            }
            let mut word = c.to_string();
            if c.is_alphanumeric() || c == '_' {
                while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(more);
                }
            } else if c == ':' && chars.next_if_eq(&':').is_some() {
                word.push(':');
            }
            tokens.push(Token {
                text: word,
                line: number + 1,
                in_test: false,
                inline: Vec::new(),
            });
        }
    }
    tokens
}

/// Marks every item under a `#[cfg(…test…)]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut i = 0;
    while i + 2 < tokens.len() {
        let is_cfg =
            tokens[i].text == "#" && tokens[i + 1].text == "[" && tokens[i + 2].text == "cfg";
        if !is_cfg {
            i += 1;
            continue;
        }
        let attribute_end = matching(tokens, i + 1);
        let attribute = &tokens[i..attribute_end];
        let says = |word: &str| attribute.iter().any(|token| token.text == word);
        let end = if says("test") && !says("not") {
            end_of_item(tokens, attribute_end)
        } else {
            attribute_end
        };
        if end > attribute_end {
            tokens[i..end]
                .iter_mut()
                .for_each(|token| token.in_test = true);
        }
        i = end;
    }
}

/// The item after an attribute ends with its `;`, or with the block that is not followed by one.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut i = start;
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            ";" => return i + 1,
            // `use a::{b, c};` goes on behind its block.
            "{" => {
                let end = matching(tokens, i);
                let in_path = i > 0 && tokens[i - 1].text == "::";
                if !in_path {
                    return end;
                }
                i = end;
            }
            "(" | "[" => i = matching(tokens, i),
            _ => i += 1,
        }
    }
    tokens.len()
}

/// Just behind the bracket that closes the one at `open`.
fn matching(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

fn mark_inline_modules(tokens: &mut [Token]) {
    for i in 0..tokens.len().saturating_sub(2) {
        if tokens[i].text == "mod" && tokens[i + 2].text == "{" {
            let name = tokens[i + 1].text.clone();
            let end = matching(tokens, i + 2);
            for token in &mut tokens[i + 3..end] {
                token.inline.push(name.clone());
            }
        }
    }
}
