//! The methods of the contract, and what a hop may do with a call of each.
//!
//! The set is read off the compiled descriptors, so that it is closed: whatever else a caller asks for is `_OTHER`, and
//! the labels of metrics stay bounded.

use std::{collections::HashMap, sync::OnceLock};

use prost::Message;
use prost_types::FileDescriptorSet;

/// Stands for every method that the contract does not have (OpenTelemetry's RPC conventions).
const OTHER: Method = Method {
    name: "_OTHER",
    is_stream: false,
    takes_one_message: false,
    is_idempotent: false,
    class: None,
    comes_by_the_door: false,
    is_for_operators: true,
};

/// What concerns all tenants: which models serve, what of their queries another model would have said, and the policy.
const OPERATORS: [&str; 7] =
    ["LoadModel", "UnloadModel", "PromoteModel", "RollbackModel", "ShadowModel", "CheckLabels", "GetPolicy"];

/// Calls that fail together, because the peer serves them with the same means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Short calls that somebody waits for.
    Read,
    /// Embedding of documents, which takes as long as it takes.
    Bulk,
    /// Answers that come piece by piece.
    Stream,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Read, Self::Bulk, Self::Stream];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Bulk => "bulk",
            Self::Stream => "stream",
        }
    }
}

/// A method, and what may be done with its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// Its full name, for instance `trivium.router.v1.RouterService/Query`.
    pub name: &'static str,
    /// Whether one side sends more than one message.
    pub is_stream: bool,
    /// Whether its caller sends one message, whatever the answer.
    pub takes_one_message: bool,
    /// Whether it is unary and changes nothing, so that it may be sent twice.
    pub is_idempotent: bool,
    /// With what it fails; `None` for the calls of operators, by which one finds out whether a peer is back.
    pub class: Option<Class>,
    /// Whether its calls are let in by the measured concurrency of the server, and not by the fixed bound alone.
    pub comes_by_the_door: bool,
    /// Whether it changes or tells what all tenants share, so that not every caller may make it.
    pub is_for_operators: bool,
}

impl Method {
    /// The method of a request's path, for instance `/trivium.router.v1.RouterService/Query`.
    pub fn of(path: &str) -> Self {
        static METHODS: OnceLock<HashMap<String, Method>> = OnceLock::new();
        METHODS.get_or_init(contract).get(path.trim_start_matches('/')).copied().unwrap_or(OTHER)
    }
}

impl Method {
    /// The name of its spans (OpenTelemetry's RPC conventions, gRPC).
    pub fn span_name(self) -> &'static str {
        if self == OTHER { "grpc" } else { self.name }
    }
}

/// Every method of the contract by its full name.
fn contract() -> HashMap<String, Method> {
    let files =
        FileDescriptorSet::decode(trivium_proto::FILE_DESCRIPTOR_SET).expect("compiled in, and read by a test").file;
    let mut methods = HashMap::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let streams = (method.client_streaming(), method.server_streaming());
                // Once in a process for each method of the contract, and for as long as the process lives.
                let known = describe(String::leak(name.clone()), method.name(), streams);
                methods.insert(name, known);
            }
        }
    }
    methods
}

fn describe(name: &'static str, method: &str, (many_in, many_out): (bool, bool)) -> Method {
    let is_stream = many_in || many_out;
    let class = match method {
        "Analyze" | "Rerank" | "Search" | "Route" | "Query" => Some(Class::Read),
        "Embed" => Some(Class::Bulk),
        "Generate" | "QueryStream" => Some(Class::Stream),
        _ => None,
    };
    let reads = matches!(method, "Analyze" | "Embed" | "Rerank" | "Search" | "Route")
        || method.starts_with("Get")
        || method.starts_with("List");
    let comes_by_the_door = class == Some(Class::Read) || method == "QueryStream";
    Method {
        name,
        is_stream,
        takes_one_message: !many_in,
        is_idempotent: reads && !is_stream,
        class,
        comes_by_the_door,
        is_for_operators: OPERATORS.contains(&method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_known_for_what_it_is() {
        let table = [
            ("/trivium.model.v1.ModelService/Analyze", true, Some(Class::Read), true),
            ("/trivium.model.v1.ModelService/Embed", true, Some(Class::Bulk), false),
            ("/trivium.model.v1.ModelService/Generate", false, Some(Class::Stream), false),
            ("/trivium.model.v1.ModelService/PromoteModel", false, None, false),
            ("/trivium.retriever.v1.RetrieverService/Search", true, Some(Class::Read), true),
            ("/trivium.retriever.v1.RetrieverService/ListCollections", true, None, false),
            ("/trivium.retriever.v1.RetrieverService/UpsertDocuments", false, None, false),
            ("/trivium.retriever.v1.RetrieverService/PurgeDocuments", false, None, false),
            ("/trivium.router.v1.RouterService/Query", false, Some(Class::Read), true),
            ("/trivium.router.v1.RouterService/QueryStream", false, Some(Class::Stream), true),
        ];
        for (path, is_idempotent, class, comes_by_the_door) in table {
            let method = Method::of(path);
            assert_eq!(method.name, &path[1..]);
            let found = (method.is_idempotent, method.class, method.comes_by_the_door);
            assert_eq!(found, (is_idempotent, class, comes_by_the_door), "{path}");
        }
    }

    #[test]
    fn whatever_else_is_asked_for_has_one_name() {
        for path in ["", "/", "/trivium.router.v1.RouterService/Fly", "/somebody.else/Query", "/Query"] {
            assert_eq!(Method::of(path), OTHER, "{path}");
        }
    }
}
