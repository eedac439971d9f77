//! Keeps the state of a run, so that one that was killed goes on where it was.
//!
//! One safetensors file holds the four slices of floats and the progress, and in its metadata a
//! fingerprint of everything that the run was told. It is replaced by renaming, so that a kill
//! at any moment leaves either the old state or the new one.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::optimiser::AdamW;
use crate::run::{EpochResult, Progress, State};

/// Names of the tensors in the file: four of all variables, and two of the progress.
const WEIGHTS: &str = "weights";
const MEANS: &str = "means";
const SQUARES: &str = "squares";
const BEST: &str = "best";
const CURRENT: &str = "current_epoch";
const EPOCHS: &str = "epochs";
/// The key of the metadata.
const FINGERPRINT: &str = "fingerprint";

/// Why a run's state cannot be kept or taken up.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused; what was there before still is.
    #[error("the checkpoint {path} cannot be written or read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the checkpoint {path} is damaged ({reason}); remove it, or train without resuming")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file belongs to a run that was told something else.
    #[error(
        "the checkpoint {path} belongs to a run with other data, settings or encoder; use those again, or train without resuming"
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
    },
}

/// Where one run's state is kept.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    path: PathBuf,
    /// Tells this run from others.
    fingerprint: String,
}

impl Checkpoints {
    pub(crate) fn new(path: PathBuf, fingerprint: String) -> Self {
        Self { path, fingerprint }
    }

    /// Replaces what is there.
    pub(crate) fn write(&self, state: &State) -> Result<(), CheckpointError> {
        let bytes = self.encode(state).map_err(|error| self.damaged(&error))?;
        write_atomic(&self.path, &bytes).map_err(|source| self.io(source))
    }

    /// What is there; `None` if nothing is. `len` is the number of floats of the network.
    pub(crate) fn read(&self, len: usize) -> Result<Option<State>, CheckpointError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        self.decode(&bytes, len).map(Some)
    }

    /// Removes what is there, and its folder.
    pub(crate) fn remove(&self) -> Result<(), CheckpointError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io(error)),
            _ => {}
        }
        // Whatever else somebody keeps there keeps the folder, too.
        let _ = self.path.parent().map(fs::remove_dir);
        Ok(())
    }

    fn encode(&self, state: &State) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let floats = |values: &[f32]| (Dtype::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect());
        // As tensors, since a decimal in the metadata might not come back as the same number.
        let doubles = |values: &[f64]| (Dtype::F64, values.iter().flat_map(|x| x.to_le_bytes()).collect());
        let epochs: Vec<f64> = state.progress.epochs.iter().flat_map(epoch_numbers).collect();
        let tensors: [(&str, (Dtype, Vec<u8>)); 6] = [
            (WEIGHTS, floats(&state.weights)),
            (MEANS, floats(&state.adam.means)),
            (SQUARES, floats(&state.adam.squares)),
            (BEST, floats(&state.best)),
            (CURRENT, doubles(&current_numbers(state))),
            (EPOCHS, doubles(&epochs)),
        ];
        let views = tensors
            .iter()
            .map(|(name, (kind, bytes))| {
                let elements = bytes.len() / if *kind == Dtype::F64 { 8 } else { 4 };
                Ok((*name, TensorView::new(*kind, vec![elements], bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        let metadata = HashMap::from([(FINGERPRINT.to_owned(), self.fingerprint.clone())]);
        safetensors::serialize(views, Some(metadata))
    }

    fn decode(&self, bytes: &[u8], len: usize) -> Result<State, CheckpointError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| self.damaged(&error))?;
        let fingerprint = metadata.metadata().as_ref().and_then(|pairs| pairs.get(FINGERPRINT));
        if fingerprint != Some(&self.fingerprint) {
            return Err(CheckpointError::OtherRun { path: self.path.clone() });
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| self.damaged(&error))?;
        let floats = |name| self.floats(&tensors, name);
        let (weights, means, squares, best) = (floats(WEIGHTS)?, floats(MEANS)?, floats(SQUARES)?, floats(BEST)?);
        let whole = [&weights, &means, &squares].iter().all(|slice| slice.len() == len);
        if !whole || !(best.is_empty() || best.len() == len) {
            return Err(self.damaged(&"it is of another size"));
        }
        let current = self.doubles(&tensors, CURRENT)?;
        let epochs = self.doubles(&tensors, EPOCHS)?;
        let (Ok([steps, step, loss, correct, texts, seconds]), (epochs, [])) =
            (<[f64; 6]>::try_from(current), epochs.as_chunks::<6>())
        else {
            return Err(self.damaged(&"its progress is of another size"));
        };
        let progress = Progress {
            step: step as usize,
            loss,
            correct: correct as usize,
            texts: texts as usize,
            seconds,
            epochs: epochs.iter().map(epoch_of).collect(),
        };
        Ok(State { weights, adam: AdamW { means, squares, steps: steps as u64 }, progress, best })
    }

    fn floats(&self, tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let data = self.data(tensors, name, Dtype::F32)?;
        Ok(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn doubles(&self, tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<f64>, CheckpointError> {
        let data = self.data(tensors, name, Dtype::F64)?;
        Ok(data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }

    fn data<'a>(&self, tensors: &SafeTensors<'a>, name: &str, kind: Dtype) -> Result<&'a [u8], CheckpointError> {
        let tensor = tensors.tensor(name).map_err(|error| self.damaged(&error))?;
        if tensor.dtype() == kind {
            Ok(tensor.data())
        } else {
            Err(self.damaged(&format!("{name} is of another kind")))
        }
    }

    fn io(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }
}

/// The progress of the epoch that is under way, and the optimiser's steps. Whole numbers below
/// 2^53 are exact as doubles.
fn current_numbers(state: &State) -> [f64; 6] {
    let progress = &state.progress;
    [
        state.adam.steps as f64,
        progress.step as f64,
        progress.loss,
        progress.correct as f64,
        progress.texts as f64,
        progress.seconds,
    ]
}

fn epoch_numbers(epoch: &EpochResult) -> [f64; 6] {
    let EpochResult { epoch, train_loss, train_accuracy, valid_loss, valid_accuracy, seconds } = *epoch;
    [epoch as f64, train_loss, train_accuracy, valid_loss, valid_accuracy, seconds]
}

fn epoch_of(numbers: &[f64; 6]) -> EpochResult {
    let [epoch, train_loss, train_accuracy, valid_loss, valid_accuracy, seconds] = *numbers;
    EpochResult { epoch: epoch as usize, train_loss, train_accuracy, valid_loss, valid_accuracy, seconds }
}

/// Writes a file so that at every moment either the old content is there or the whole new one.
/// When the disk is full, the half-written file is removed and the old one stays.
fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("partial");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::floats;

    fn state() -> State {
        let epoch = EpochResult {
            epoch: 1,
            train_loss: 0.1 + 0.2,
            train_accuracy: 1.0 / 3.0,
            valid_loss: f64::MIN_POSITIVE,
            valid_accuracy: 0.7,
            seconds: 12.5,
        };
        let progress =
            Progress { step: 3, loss: 1.0 / 7.0, correct: 5, texts: 9, seconds: 0.1, epochs: vec![epoch, epoch] };
        let adam = AdamW { means: floats(4, 2), squares: floats(4, 3), steps: 17 };
        State { weights: floats(4, 1), adam, progress, best: floats(4, 4) }
    }

    fn checkpoints(folder: &Path) -> Checkpoints {
        Checkpoints::new(folder.join("deep/run.checkpoint"), "abc".to_owned())
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(folder.path());
        assert_eq!(checkpoints.read(4).unwrap(), None);
        checkpoints.write(&State::new(vec![0.0; 4])).unwrap();
        checkpoints.write(&state()).unwrap();
        assert_eq!(checkpoints.read(4).unwrap(), Some(state()));
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
        checkpoints.remove().unwrap();
        checkpoints.remove().unwrap();
        assert_eq!(checkpoints.read(4).unwrap(), None);
    }

    #[test]
    fn damage_and_other_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(folder.path());
        checkpoints.write(&state()).unwrap();
        let other = Checkpoints::new(checkpoints.path.clone(), "abd".to_owned());
        assert!(matches!(other.read(4), Err(CheckpointError::OtherRun { .. })));
        assert!(matches!(checkpoints.read(5), Err(CheckpointError::Damaged { .. })));
        let bytes = fs::read(&checkpoints.path).unwrap();
        fs::write(&checkpoints.path, &bytes[..bytes.len() - 1]).unwrap();
        let error = checkpoints.read(4).unwrap_err();
        assert!(matches!(&error, CheckpointError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("run.checkpoint"), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_state_and_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(folder.path());
        checkpoints.write(&state()).unwrap();
        // The temporary file cannot be created where a folder has its name.
        let blocker = checkpoints.path.with_extension("partial");
        fs::create_dir(&blocker).unwrap();
        let error = checkpoints.write(&State::new(vec![0.0; 4])).unwrap_err();
        assert!(error.to_string().contains("run.checkpoint"), "{error}");
        fs::remove_dir(&blocker).unwrap();
        assert_eq!(checkpoints.read(4).unwrap(), Some(state()));
        // What a full disk answers.
        let full = write_synced(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
