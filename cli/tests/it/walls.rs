//! The walls between the crates stand: what `ARCHITECTURE.md` says in bold, read off the manifests and the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

const SERVICES: [&str; 3] = ["router", "retriever", "model-host"];

#[test]
fn no_service_crate_depends_on_another() {
    for service in SERVICES {
        let manifest: toml::Table =
            toml::from_str(&read(&root().join(service).join("Cargo.toml"))).expect("a manifest is TOML");
        for table in ["dependencies", "dev-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(|table| table.as_table()) else { continue };
            for other in SERVICES {
                assert!(!dependencies.contains_key(&format!("trivium-{other}")), "{service} depends on {other}");
            }
        }
    }
}

#[test]
fn only_the_edge_of_a_service_names_tonic() {
    for service in SERVICES {
        let edge =
            |path: &str| ["grpc.rs", "grpc/", "clients.rs", "clients/"].iter().any(|edge| path.starts_with(edge));
        refuse(service, &["tonic"], edge);
    }
    refuse("ranking", &["tonic", "tokio"], |_| false);
    refuse("model-host/train", &["tonic", "tokio"], |_| false);
}

#[test]
fn only_one_place_names_each_engine() {
    refuse(
        "retriever",
        &["lance", "lance_table", "lance_core", "lance_index", "object_store", "arrow_array", "arrow_schema"],
        |path| path.starts_with("vector"),
    );
    refuse("retriever", &["tantivy"], |path| path.starts_with("lexical"));
    let engine = ["rten", "rten_tensor", "rten_gemm", "rten_simd", "rten_vecmath"];
    refuse("model-host", &engine, |path| path.starts_with("engine"));
    refuse("model-host/train", &engine, |path| path == "kernels.rs");
    for other in ["router", "ranking", "service-kit"] {
        refuse(other, &["lance", "tantivy", "rten"], |_| false);
    }
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let members = [
        "proto",
        "service-kit",
        "service-kit/contract",
        "ranking",
        "model-host",
        "model-host/train",
        "retriever",
        "router",
    ];
    for member in members {
        let lib = read(&root().join(member).join("src/lib.rs"));
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{member} does not forbid unsafe code");
    }
    assert!(read(&root().join("cli/src/main.rs")).contains("#![forbid(unsafe_code)]"));
}

/// Fails when a source file of `member` outside `allowed` names one of `crates` in a path.
fn refuse(member: &str, crates: &[&str], allowed: impl Fn(&str) -> bool) {
    let source = root().join(member).join("src");
    for file in rust_files(&source) {
        let path = file.strip_prefix(&source).expect("inside").to_string_lossy().replace('\\', "/");
        if allowed(&path) {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for name in crates {
                assert!(!names(code, name), "{member}/src/{path}:{}: names {name}: {line}", number + 1);
            }
        }
    }
}

/// Whether code names a crate in a path, such as `tonic::Status`.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        // A quotation mark before it makes it a text that happens to look like a path.
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':' | '"'))
    })
}

#[test]
fn a_name_is_found_only_where_it_is_a_crate() {
    assert!(names("use tonic::Status;", "tonic"));
    assert!(names("fn f() -> tonic::Status {", "tonic"));
    assert!(!names("use opentelemetry_tonic::x;", "tonic"));
    assert!(!names("use crate::tonic::x;", "tonic"));
    assert!(!names("use lance_table::x;", "lance"));
    assert!(!names("belongs(\"lance::dataset\")", "lance"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.expect("a readable folder");
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.into_path());
        }
    }
    assert!(!files.is_empty(), "{} has no sources", folder.display());
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    // Cargo runs the tests in the folder of their crate.
    PathBuf::from("..")
}
