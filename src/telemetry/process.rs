//! What the kernel says of this process: memory, processor time, bytes written. What follows from it
//! is `load`'s.

use std::fs::read_to_string;

/// A picture; what could not be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// Processor time of all threads since the start.
    pub cpu_ms: Option<u64>,
    /// Bytes that were caused to be written to storage since the start.
    pub written_bytes: Option<u64>,
}

impl Process {
    /// As it is at present.
    pub fn now() -> Self {
        let read = |name: &str| read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Process {
            memory_bytes: memory_bytes(&read("status")),
            cpu_ms: cpu_ms(&read("stat")),
            written_bytes: written_bytes(&read("io")),
        }
    }
}

fn memory_bytes(status: &str) -> Option<u64> {
    let kib = after(status, "VmRSS:")?.split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

fn written_bytes(io: &str) -> Option<u64> {
    after(io, "write_bytes:")?.trim().parse().ok()
}

fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))
}

fn cpu_ms(stat: &str) -> Option<u64> {
    // The program's name, in brackets, may hold anything; behind it the numbers are separated by spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Hundredths of a second: USER_HZ, part of the kernel's interface, is 100 on every machine we run on.
    Some((user + system) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_memory_and_processor_time() {
        let begin = std::time::Instant::now();
        let mut spun = 0_u64;
        while begin.elapsed().as_millis() < 50 {
            spun = spun.wrapping_add(1);
        }
        let process = Process::now();
        assert!(process.memory_bytes > Some(1_000_000), "{process:?}");
        assert!(process.cpu_ms >= Some(10), "{process:?} {spun}");
        assert!(process.written_bytes.is_some(), "{process:?}");
    }

    #[test]
    fn the_kernel_is_read_right_and_what_is_unreadable_is_absent() {
        let stat = "42 (a) b) S 1 1 1 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 8 0 12345 1 1";
        assert_eq!(cpu_ms(stat), Some(3_000));
        assert_eq!(
            memory_bytes("VmPeak: 9 kB\nVmRSS:\t   2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(written_bytes("wchar: 1\nwrite_bytes: 4096\n"), Some(4_096));
        let nothing = (memory_bytes(""), cpu_ms(""), written_bytes("x"));
        assert_eq!(nothing, (None, None, None));
    }
}
