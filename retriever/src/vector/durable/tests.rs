//! What a power loss would leave, at each step of each commit.

use super::super::{ChunkRow, CompactionBounds, DocumentRow, TableCaches, TableLayout, VectorTable};
use super::{Disk, DurableCommits, RealDisk};
use crate::hash::ContentHash;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// One operation, by paths within the table's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    File(PathBuf),
    Folder(PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Files by their paths, as they would be found after the power came back.
type Image = BTreeMap<PathBuf, Vec<u8>>;

/// What is on the disk for certain: contents by inode, and in each folder the names that were synced.
#[derive(Debug, Default)]
struct Certain {
    contents: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<PathBuf, BTreeMap<OsString, u64>>,
}

#[derive(Debug, Default)]
struct Record {
    steps: Vec<Step>,
    certain: Certain,
    acknowledged: u64,
    /// After each step: the version that had been acknowledged, and the two extremes of what may be left.
    left: Vec<(u64, Image)>,
}

/// The real disk, with a record of what was asked of it.
#[derive(Debug)]
struct RecordingDisk {
    table: PathBuf,
    /// Whether it only pretends to sync the content of files.
    forgets_contents: bool,
    record: Mutex<Record>,
}

impl RecordingDisk {
    fn of(table: &Path, forgets_contents: bool) -> Arc<Self> {
        Arc::new(Self { table: table.to_owned(), forgets_contents, record: Mutex::default() })
    }

    fn acknowledge(&self, version: u64) {
        self.record.lock().unwrap().acknowledged = version;
    }

    fn note(&self, step: Step, learn: impl FnOnce(&mut Certain)) {
        let mut record = self.record.lock().unwrap();
        learn(&mut record.certain);
        record.steps.push(step);
        let images = [strict_image(&record.certain), eager_image(&record.certain, &self.table)];
        let acknowledged = record.acknowledged;
        record.left.extend(images.map(|image| (acknowledged, image)));
    }

    fn within(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.table).unwrap().to_owned()
    }
}

impl Disk for RecordingDisk {
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_file(path)?;
        let (inode, content) = (fs::metadata(path)?.ino(), fs::read(path)?);
        self.note(Step::File(self.within(path)), |certain| {
            if !self.forgets_contents {
                certain.contents.insert(inode, content);
            }
        });
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_folder(path)?;
        let names = inodes(path);
        let within = self.within(path);
        self.note(Step::Folder(within.clone()), |certain| {
            certain.names.insert(within, names);
        });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)?;
        self.note(Step::Link(self.within(from), self.within(to)), |_| {});
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        self.note(Step::Remove(self.within(path)), |_| {});
        Ok(())
    }
}

fn inodes(folder: &Path) -> BTreeMap<OsString, u64> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    // A file that is renamed meanwhile, as Lance's own temporary ones are, has no place here.
    entries.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.ino()))).collect()
}

/// Only what was synced is there.
fn strict_image(certain: &Certain) -> Image {
    let mut image = Image::new();
    for (folder, names) in &certain.names {
        let reachable = folder.ancestors().zip(folder.ancestors().skip(1)).all(|(child, parent)| {
            let name = child.file_name().unwrap();
            certain.names.get(parent).is_some_and(|names| names.contains_key(name))
        });
        for (name, inode) in names {
            let path = folder.join(name);
            let is_folder = certain.names.contains_key(&path);
            if reachable && !is_folder {
                image.insert(path, certain.contents.get(inode).cloned().unwrap_or_default());
            }
        }
    }
    image
}

/// All names are there, contents only where they were synced.
fn eager_image(certain: &Certain, table: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for (name, inode) in inodes(&table.join(&folder)) {
            let path = folder.join(name);
            match table.join(&path).is_dir() {
                true => folders.push(path),
                false => drop(image.insert(path, certain.contents.get(&inode).cloned().unwrap_or_default())),
            }
        }
    }
    image
}

fn layout() -> TableLayout {
    TableLayout { dimension: 2, fields: Vec::new(), tokens: None }
}

fn caches() -> TableCaches {
    TableCaches::new(1 << 20, 1 << 20)
}

fn row(number: u32) -> ChunkRow {
    let document = DocumentRow {
        document_id: format!("d{number}"),
        title: String::new(),
        uri: String::new(),
        content_type: "text/plain".into(),
        language: String::new(),
        declared: Vec::new(),
        metadata_json: "{}".into(),
        document_hash: ContentHash::from_u128(number.into()),
    };
    ChunkRow {
        document: Arc::new(document),
        chunk_id: format!("d{number}#0"),
        chunk_no: 0,
        char_start: 0,
        char_end: 1,
        heading_path: Vec::new(),
        text: format!("text {number}"),
        index_text: "x".into(),
        chunk_hash: ContentHash::from_u128(number.into()),
        vector: vec![1.0, 0.0],
        token_vectors: None,
    }
}

/// Documents of each version of the table.
type Expected = BTreeMap<u64, BTreeSet<String>>;

/// Inserts, deletes, replaces and compacts, and gives what each version holds.
async fn history(disk: &Arc<RecordingDisk>) -> (VectorTable, Expected) {
    let commits = DurableCommits::through(disk.clone(), &disk.table);
    let mut table = VectorTable::create_through(commits, &disk.table, layout(), &caches()).await.unwrap();
    let mut expected = Expected::new();
    let mut places = BTreeMap::new();
    for number in 0..4_u32 {
        disk.acknowledge(table.version());
        expected.insert(table.version(), places.keys().map(|number| format!("d{number}")).collect());
        // Each commit adds two rows, and all but the first delete one of the commit before.
        let rows = [row(2 * number), row(2 * number + 1)];
        let deleted: Vec<_> =
            number.checked_sub(1).and_then(|before| places.remove(&(2 * before))).into_iter().collect();
        let committed = table.commit(&rows, &deleted).await.unwrap();
        places.extend([2 * number, 2 * number + 1].into_iter().zip(committed.places));
        table = committed.table;
    }
    let documents: BTreeSet<_> = places.keys().map(|number| format!("d{number}")).collect();
    disk.acknowledge(table.version());
    expected.insert(table.version(), documents.clone());
    let compacted = table.compact(CompactionBounds { fragments: 2, rows: 100 }, None).await.unwrap().unwrap();
    // Compaction makes a version of its own on the way.
    (table.version()..=compacted.table.version()).for_each(|version| drop(expected.insert(version, documents.clone())));
    disk.acknowledge(compacted.table.version());
    (compacted.table, expected)
}

/// Opens an image, and reads all of it.
async fn documents_of(image: &Image) -> Result<(u64, BTreeSet<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in image {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let table = VectorTable::open(folder.path(), layout(), &caches()).await.map_err(|error| error.to_string())?;
    let keys = table.scan_keys().await.map_err(|error| error.to_string())?;
    let ids: Vec<u64> = keys.iter().map(|key| key.place.row_id).collect();
    let chunks = table.take_chunks(&ids).await.map_err(|error| error.to_string())?;
    Ok((table.version(), chunks.into_iter().map(|chunk| chunk.document.document_id).collect()))
}

/// What is wrong with anything that a power loss could leave.
async fn faults(disk: &RecordingDisk, expected: &Expected) -> Vec<String> {
    let left = std::mem::take(&mut disk.record.lock().unwrap().left);
    let mut faults = Vec::new();
    for (step, (acknowledged, image)) in left.into_iter().enumerate() {
        // Before the first acknowledgement there need be no table.
        if acknowledged == 0 {
            continue;
        }
        match documents_of(&image).await {
            Err(error) => faults.push(format!("step {step}: version {acknowledged} cannot be read: {error}")),
            Ok((version, _)) if version < acknowledged => {
                faults.push(format!("step {step}: version {acknowledged} is lost, {version} is left"));
            }
            Ok((version, documents)) if expected.get(&version) != Some(&documents) => {
                faults.push(format!("step {step}: version {version} holds {documents:?}"));
            }
            Ok(_) => {}
        }
    }
    faults
}

#[tokio::test]
async fn a_power_loss_at_any_step_leaves_every_acknowledged_version() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::of(&folder.path().join("t.lance"), false);
    let (_, expected) = history(&disk).await;
    assert_eq!(faults(&disk, &expected).await, [""; 0]);
}

#[tokio::test]
async fn a_disk_that_forgets_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::of(&folder.path().join("t.lance"), true);
    let (_, expected) = history(&disk).await;
    assert!(!faults(&disk, &expected).await.is_empty(), "the test would not see a lost file");
}

#[tokio::test]
async fn files_come_before_the_manifest_and_the_manifest_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::of(&folder.path().join("t.lance"), false);
    let commits = DurableCommits::through(disk.clone(), &disk.table);
    let table = VectorTable::create_through(commits, &disk.table, layout(), &caches()).await.unwrap();
    let first = table.commit(&[row(0), row(1)], &[]).await.unwrap();
    disk.record.lock().unwrap().steps.clear();
    first.table.commit(&[row(2)], &first.places[..1]).await.unwrap();

    let steps = disk.record.lock().unwrap().steps.clone();
    let link = steps.iter().position(|step| matches!(step, Step::Link(..))).unwrap();
    let (before, after) = (&steps[..link], &steps[link + 1..]);
    let holders = |step: &Step| match step {
        Step::File(path) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let files: BTreeSet<_> = before.iter().filter_map(holders).collect();
    let versions = PathBuf::from("_versions");
    let named = ["data", "_deletions", "_transactions"].map(PathBuf::from);
    assert_eq!(files, named.iter().chain([&versions]).cloned().collect(), "{steps:?}");
    let last_file = before.iter().rposition(|step| matches!(step, Step::File(_))).unwrap();
    let folders: BTreeSet<_> = before[last_file + 1..].iter().cloned().collect();
    let mut expected: BTreeSet<_> = named.map(Step::Folder).into_iter().collect();
    // The first deletion made its folder, whose own name is in the table's.
    expected.insert(Step::Folder(PathBuf::new()));
    assert_eq!(folders, expected, "{steps:?}");
    assert_eq!(after, [Step::Folder(versions.clone()), Step::Remove(versions.join(".staged"))]);
}

#[tokio::test]
async fn a_version_that_another_writer_took_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.lance");
    let table = VectorTable::create(&path, layout(), &caches()).await.unwrap();
    let other = VectorTable::open(&path, layout(), &caches()).await.unwrap();
    let first = other.commit(&[row(0)], &[]).await.unwrap();
    // Lance commits after the version that came between. The table cannot tell then which rows are whose, and says so.
    assert!(table.commit(&[row(1)], &[]).await.is_err());
    let newest = VectorTable::open(&path, layout(), &caches()).await.unwrap();
    assert_eq!((newest.version(), newest.count_rows().await.unwrap()), (first.table.version() + 1, 2));
}
