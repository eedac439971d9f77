//! Rows of a file, one at a time and each of bounded length: a file may be larger than the
//! memory, but no row may.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// The number of a line, and what is wrong with it.
pub(super) type BadLine = (u64, String);

/// A row with more bytes than this is refused: no query is that long, and one bad row must not
/// fill the memory.
pub(super) const MOST_ROW_BYTES: u64 = 1 << 20;

/// Calls `each` with the number, from 1, and the text of each line that is not blank.
pub(super) fn lines(
    mut reader: impl BufRead,
    mut each: impl FnMut(u64, &str) -> Result<(), BadLine>,
) -> Result<(), BadLine> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MOST_ROW_BYTES + 1).read_until(b'\n', &mut line);
        match read.map_err(|error| (number, error.to_string()))? as u64 {
            0 => break,
            bytes if bytes > MOST_ROW_BYTES => return Err((number, too_long())),
            _ => {}
        }
        let text = str::from_utf8(&line).map_err(|error| (number, format!("it is not UTF-8: {error}")))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.trim().is_empty() {
            each(number, text)?;
        }
    }
    Ok(())
}

/// Calls `each` with the number of the first line, from 1, and the fields of each CSV record
/// after the header, which it is given as well.
pub(super) fn records(
    reader: impl Read,
    mut each: impl FnMut(u64, &csv::StringRecord, &csv::StringRecord) -> Result<(), BadLine>,
) -> Result<(), BadLine> {
    let allowed = Rc::new(Cell::new(MOST_ROW_BYTES));
    let bounded = Bounded { reader, read: 0, allowed: Rc::clone(&allowed) };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bounded);
    let headers = reader.headers().map_err(|error| bad(&error, 1))?.clone();
    let mut record = csv::StringRecord::new();
    loop {
        let start = reader.position().clone();
        allowed.set(start.byte().saturating_add(MOST_ROW_BYTES));
        if !reader.read_record(&mut record).map_err(|error| bad(&error, start.line()))? {
            return Ok(());
        }
        let line = record.position().map_or(start.line(), csv::Position::line);
        each(line, &headers, &record)?;
    }
}

fn bad(error: &csv::Error, line: u64) -> BadLine {
    (error.position().map_or(line, csv::Position::line), error.to_string())
}

fn too_long() -> String {
    format!("it is longer than {MOST_ROW_BYTES} bytes")
}

/// Refuses to read on when a record has not ended where it must have.
struct Bounded<R> {
    reader: R,
    read: u64,
    /// Bytes from the beginning of the file that may be read; moves on with the records.
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read > self.allowed.get() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, too_long()));
        }
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` times the letter a, made as it is read: the test needs no memory for it.
    fn letters(count: u64) -> impl Read {
        io::repeat(b'a').take(count)
    }

    #[test]
    fn a_row_of_a_hundred_megabytes_is_refused_by_its_line() {
        let long = 100 << 20;
        let file = b"{}\n\n".chain(letters(long));
        let mut seen = Vec::new();
        let error = lines(io::BufReader::new(file), |number, _| {
            seen.push(number);
            Ok(())
        });
        let (line, reason) = error.unwrap_err();
        assert_eq!((line, seen), (3, vec![1]));
        assert!(reason.contains("longer than"), "{reason}");

        for quote in ["", "\""] {
            let rows = format!("text,label\na,b\n{quote}");
            let (line, reason) = records(rows.as_bytes().chain(letters(long)), |_, _, _| Ok(())).unwrap_err();
            assert_eq!(line, 3);
            assert!(reason.contains("longer than"), "{reason}");
        }
        // Line ends inside quotes do not make it a short one.
        let lines = b"text,label\n\"".chain(io::Cursor::new(b"a\n".repeat(1 << 20)));
        assert_eq!(records(lines, |_, _, _| Ok(())).unwrap_err().0, 2);
    }

    #[test]
    fn many_rows_may_be_longer_together() {
        let row = format!("{}\n", "b".repeat(1000));
        let mut count = 0;
        lines(io::BufReader::new(row.repeat(3000).as_bytes()), |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 3000);
        let row = format!("{},x\n", "b".repeat(1000));
        let mut last = 0;
        let file = format!("text,label\n{}", row.repeat(3000));
        records(file.as_bytes(), |line, _, _| {
            last = line;
            Ok(())
        })
        .unwrap();
        assert_eq!(last, 3001);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_by_their_line() {
        let (line, reason) = lines(&b"a\n\xff\n"[..], |_, _| Ok(())).unwrap_err();
        assert_eq!(line, 2);
        assert!(reason.contains("UTF-8"), "{reason}");
    }
}
