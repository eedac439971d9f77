//! Finding records again.

use std::{collections::HashMap, io, path::Path};

use trivium_proto::router::v1::{AuditGap, AuditRecord, Feedback, audit_entry::Entry};

use super::{
    folder::{Folder, SegmentFile},
    segment::{Torn, entries},
};

/// Feedback on one record that is given out; what is older is left out.
const MAX_FEEDBACK: usize = 100;

/// Requests whose feedback an export holds in memory.
const MAX_REQUESTS_WITH_FEEDBACK: usize = 1_000_000;

/// What an export consists of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Exported {
    /// A record, with the feedback on it.
    Record(Box<AuditRecord>),
    /// Records are missing here.
    Gap(AuditGap),
}

/// The last record of that request, with the feedback on it. The newest files are read first.
pub(super) fn find(folder: &Folder, request_id: &str) -> io::Result<Option<AuditRecord>> {
    let mut feedback: Vec<Feedback> = Vec::new();
    for segment in folder.segments()?.iter().rev() {
        let mut found = None;
        let mut here = Vec::new();
        for entry in read(segment)? {
            match entry {
                Entry::Record(record) if record.request_id == request_id => {
                    // What was said before is about an earlier call of that name.
                    here.clear();
                    found = Some(record);
                }
                Entry::Feedback(said) if said.request_id == request_id => here.extend(said.feedback),
                _ => {}
            }
        }
        here.append(&mut feedback);
        feedback = here;
        if let Some(record) = found {
            return Ok(Some(with(record, feedback)));
        }
    }
    Ok(None)
}

/// Hands every record on to `sink`, oldest first, until `sink` wants no more.
pub(super) fn export(folder: &Folder, mut sink: impl FnMut(Exported) -> bool) -> io::Result<()> {
    let segments = folder.segments()?;
    let mut feedback = all_feedback(&segments)?;
    for segment in &segments {
        for entry in read(segment)? {
            let exported = match entry {
                Entry::Record(record) => {
                    let said = feedback.remove(&record.request_id).unwrap_or_default();
                    Exported::Record(Box::new(with(record, said)))
                }
                Entry::Gap(gap) => Exported::Gap(gap),
                Entry::Feedback(_) => continue,
            };
            if !sink(exported) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn all_feedback(segments: &[SegmentFile]) -> io::Result<HashMap<String, Vec<Feedback>>> {
    let mut feedback: HashMap<String, Vec<Feedback>> = HashMap::new();
    for segment in segments {
        for entry in read(segment)? {
            let Entry::Feedback(said) = entry else { continue };
            if feedback.len() < MAX_REQUESTS_WITH_FEEDBACK || feedback.contains_key(&said.request_id) {
                feedback.entry(said.request_id).or_default().extend(said.feedback);
            }
        }
    }
    Ok(feedback)
}

fn with(mut record: AuditRecord, mut feedback: Vec<Feedback>) -> AuditRecord {
    record.feedback = feedback.split_off(feedback.len().saturating_sub(MAX_FEEDBACK));
    record
}

/// The whole entries of a file; none when retention has removed it meanwhile.
fn read(segment: &SegmentFile) -> io::Result<Vec<Entry>> {
    let bytes = match std::fs::read(&segment.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (found, torn) = entries(&bytes);
    if let Some(torn) = torn {
        tell(&segment.path, torn);
    }
    Ok(found)
}

fn tell(path: &Path, torn: Torn) {
    let file = path.display();
    tracing::warn!(%file, %torn, "a file of the audit log is not whole; what comes before is read");
}
