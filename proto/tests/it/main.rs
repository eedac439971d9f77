//! The generated code is what the `.proto` files say.

use std::path::{Path, PathBuf};

/// Set to write the generated code instead of checking it (`make proto`).
const WRITE: &str = "TRIVIUM_WRITE_PROTO";

#[test]
fn generated_code_matches_its_source() {
    let fresh = tempfile::tempdir().expect("a temporary folder");
    generate(fresh.path());

    let committed = crate_dir().join("src/gen");
    if std::env::var_os(WRITE).is_some() {
        for name in file_names(fresh.path()) {
            std::fs::copy(fresh.path().join(&name), committed.join(&name)).expect("a copy");
        }
        return;
    }

    assert_eq!(
        file_names(fresh.path()),
        file_names(&committed),
        "the set of generated files differs; run `make proto`"
    );
    for name in file_names(&committed) {
        let is = std::fs::read(committed.join(&name)).expect("a committed file");
        let ought = std::fs::read(fresh.path().join(&name)).expect("a generated file");
        // The descriptors carry what the installed protoc puts in, which may differ
        // between its versions, so only their messages are compared.
        if name.ends_with(".bin") {
            assert_eq!(descriptor_names(&is), descriptor_names(&ought), "{name} is out of date; run `make proto`");
        } else {
            assert!(is == ought, "{name} is out of date; run `make proto`");
        }
    }
}

fn generate(out: &Path) {
    let root = crate_dir();
    let sources: Vec<PathBuf> = [
        "trivium/model/v1/types.proto",
        "trivium/model/v1/model_service.proto",
        "trivium/retriever/v1/blend.proto",
        "trivium/retriever/v1/rerank.proto",
        "trivium/retriever/v1/collection.proto",
        "trivium/retriever/v1/search.proto",
        "trivium/retriever/v1/retriever_service.proto",
        "trivium/router/v1/types.proto",
        "trivium/router/v1/feedback.proto",
        "trivium/router/v1/audit.proto",
        "trivium/router/v1/router_service.proto",
    ]
    .iter()
    .map(|path| root.join(path))
    .collect();

    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .file_descriptor_set_path(out.join("descriptors.bin"))
        .out_dir(out)
        .compile_protos(&sources, &[root])
        .expect("the .proto files compile (is protobuf-compiler installed?)");
}

fn descriptor_names(bytes: &[u8]) -> Vec<String> {
    use prost::Message;
    let set = prost_types::FileDescriptorSet::decode(bytes).expect("a descriptor set");
    set.file
        .iter()
        .flat_map(|file| {
            let messages = file.message_type.iter().flat_map(|message| {
                let of = message.name().to_owned();
                message.field.iter().map(move |field| format!("{of}.{}={}", field.name(), field.number()))
            });
            let methods = file.service.iter().flat_map(|service| {
                let of = service.name().to_owned();
                service.method.iter().map(move |method| format!("{of}/{}", method.name()))
            });
            messages.chain(methods).collect::<Vec<_>>()
        })
        .collect()
}

fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn crate_dir() -> PathBuf {
    // Where cargo runs the crate's tests: a build folder may outlive the checkout that filled it.
    std::env::current_dir().expect("a current folder")
}
