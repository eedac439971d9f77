//! The entries of the catalogue.

use tonic::Code;

/// Writes the enum, its wire names, its gRPC codes and its advice from one table.
macro_rules! catalogue {
    ($( $(#[$doc:meta])* $variant:ident = $wire:literal, $code:ident, $advice:literal; )*) => {
        /// Why a call failed. The set is closed: clients may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $( $(#[$doc])* $variant, )*
        }

        impl Reason {
            /// Every entry.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire, in capitals.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The gRPC code that goes with it.
            pub fn grpc_code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// What the reader can do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }

            /// The entry of that wire name.
            pub fn from_wire(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

catalogue! {
    /// A query without a word.
    QueryEmpty = "QUERY_EMPTY", InvalidArgument, "send a query with at least one character that is not white space";
    /// A query beyond the limit.
    QueryTooLong = "QUERY_TOO_LONG", InvalidArgument, "shorten the query, or ingest the text as a document and ask about it";
    /// A value that the field does not take.
    FieldInvalid = "FIELD_INVALID", InvalidArgument, "correct the field that the error names";
    /// A number outside the field's range.
    FieldOutOfRange = "FIELD_OUT_OF_RANGE", InvalidArgument, "choose a value inside the range that the error names";
    /// A field that must be set.
    FieldMissing = "FIELD_MISSING", InvalidArgument, "set the field that the error names";
    /// One id twice in a batch.
    DuplicateId = "DUPLICATE_ID", InvalidArgument, "send each document once in a batch";
    /// A document beyond the limit.
    DocumentTooLarge = "DOCUMENT_TOO_LARGE", InvalidArgument, "split the document, or raise retriever.max_document_bytes";
    /// A vector with the wrong length, or with values that are no numbers.
    VectorInvalid = "VECTOR_INVALID", InvalidArgument, "send a vector of the embedder's dimension with finite values, or none";
    /// A filter that does not parse, or does not fit the collection.
    FilterInvalid = "FILTER_INVALID", InvalidArgument, "correct the filter at the offset that the error gives; docs/guides/filters.md has the language";
    /// A message that does not decode.
    MessageMalformed = "MESSAGE_MALFORMED", InvalidArgument, "encode the message with the published .proto files";
    /// A message beyond the server's limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE", ResourceExhausted, "send less at once, or raise the server's max_message_bytes";
    /// No collection of that name.
    CollectionNotFound = "COLLECTION_NOT_FOUND", NotFound, "create the collection, or correct its name; `trivium collections list` shows what there is";
    /// A state of a collection that never was.
    SnapshotNotFound = "SNAPSHOT_NOT_FOUND", NotFound, "name a version or tag of this collection; `trivium collections snapshots NAME` lists them";
    /// No model of that name and version.
    ModelNotFound = "MODEL_NOT_FOUND", NotFound, "`trivium models list` shows what there is; `trivium models pull minilm` fetches the encoder";
    /// No generator of that name.
    GeneratorNotFound = "GENERATOR_NOT_FOUND", NotFound, "name a generator that the model host is configured with";
    /// No prompt of that name.
    PromptNotFound = "PROMPT_NOT_FOUND", NotFound, "name a prompt that the model host is configured with, or none for the generator's own";
    /// A call that the audit log does not hold.
    AuditRecordNotFound = "AUDIT_RECORD_NOT_FOUND", NotFound, "give the request id of the answer's account; records are kept for as long as router.audit says";
    /// A question about past calls to a router that records none.
    AuditDisabled = "AUDIT_DISABLED", FailedPrecondition, "set router.audit.dir, or leave router.audit.enabled on";
    /// A state of a collection that is not kept any more.
    SnapshotExpired = "SNAPSHOT_EXPIRED", FailedPrecondition, "ask as of a state that is kept, which the error lists; tag a state to keep it, or raise retriever.snapshots_newest";
    /// A collection of that name exists.
    CollectionExists = "COLLECTION_EXISTS", AlreadyExists, "choose another name, or set if_absent";
    /// No vector of the collection's embedder.
    EmbedderMismatch = "EMBEDDER_MISMATCH", FailedPrecondition, "send a vector made by the collection's embedder, or none";
    /// A road that needs a generator, and none is configured.
    NoGenerator = "NO_GENERATOR", FailedPrecondition, "configure model_host.generators, or give the intent a reply or another road in the routes file";
    /// No bundle of the needed kind serves.
    NoModel = "NO_MODEL", FailedPrecondition, "`trivium models pull minilm` fetches the encoder; `trivium intents fit` fits the intent model";
    /// A bundle whose files do not match its manifest.
    ModelDamaged = "MODEL_DAMAGED", FailedPrecondition, "remove the bundle's folder and pull or fit it again";
    /// A rollback without a version to go back to.
    NoPreviousModel = "NO_PREVIOUS_MODEL", FailedPrecondition, "name the version that is to serve: `trivium models promote NAME VERSION`";
    /// A version that cannot be let go, because something needs it.
    ModelInUse = "MODEL_IN_USE", FailedPrecondition, "promote another version or end the shadow first; the error says what needs it";
    /// More models in memory than the host may have.
    TooManyModels = "TOO_MANY_MODELS", ResourceExhausted, "`trivium models unload NAME VERSION` lets one go; model_host.max_loaded_models is the limit";
    /// A field of the contract that this version does not serve.
    NotServed = "NOT_SERVED", Unimplemented, "leave the field unset";
    /// A method that this server does not have.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented, "check the address and the version of the .proto files";
    /// A compressed message, which no service takes.
    CompressionUnsupported = "COMPRESSION_UNSUPPORTED", Unimplemented, "send messages as they are: turn compression off on the channel or the call";
    /// The caller's deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, "allow more time; the trace shows which hop took it";
    /// A caller who has not said who they are, or not so that it could be believed.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, "send a key or token that this server knows as the metadata `authorization: Bearer KEY`; `--api-key-file` does that";
    /// A call that its caller may not make.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, "ask somebody who operates the service, or use an operator's key";
    /// More than the tenant may ask for.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted, "try again after the delay that the error carries, or have the tenant's quota raised";
    /// More work than the service takes at once.
    Overloaded = "OVERLOADED", Unavailable, "try again after the delay that the error carries";
    /// The model host does not answer.
    ModelHostUnavailable = "MODEL_HOST_UNAVAILABLE", Unavailable, "check that the model host runs and that model_host's endpoint is right";
    /// The retriever does not answer.
    RetrieverUnavailable = "RETRIEVER_UNAVAILABLE", Unavailable, "check that the retriever runs and that its endpoint is right";
    /// The router does not answer.
    RouterUnavailable = "ROUTER_UNAVAILABLE", Unavailable, "check that the router runs and that its endpoint is right; `trivium up` starts one";
    /// The generator's server does not answer, or answers wrongly.
    GeneratorFailed = "GENERATOR_FAILED", Unavailable, "check the generator's server; passages can be had without it by answer mode NONE";
    /// The service is stopping.
    ShuttingDown = "SHUTTING_DOWN", Unavailable, "try again: another replica will answer";
    /// The caller went away.
    Cancelled = "CANCELLED", Cancelled, "nothing: the call was given up by its caller";
    /// Files of a collection that cannot be read.
    CollectionDamaged = "COLLECTION_DAMAGED", DataLoss, "restore the collection's folder from a backup; the service's log names the file";
    /// The disk is full or refuses.
    StorageFailed = "STORAGE_FAILED", Unavailable, "check space and permissions of the data folder; nothing that was acknowledged is lost";
    /// A fault of Trivium itself.
    Internal = "INTERNAL", Internal, "report it with the trace id; the service's log has the cause";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_are_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_wire(reason.as_str()), Some(*reason));
            assert!(reason.as_str().len() <= 63, "google.rpc.ErrorInfo allows 63 characters");
        }
    }

    #[test]
    fn every_reason_has_a_page() {
        // Relative to the crate, where cargo runs its tests: a build folder may outlive the checkout that filled it.
        let pages = std::path::Path::new("../docs/errors");
        for reason in Reason::ALL {
            let page = pages.join(format!("{}.md", reason.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            assert!(text.contains(reason.advice()), "{} does not give the catalogue's advice", page.display());
        }
    }
}
