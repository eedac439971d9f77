//! The services below, as the router calls them. Apart from the gRPC edge, only
//! this file names tonic.

use futures::{Stream, StreamExt, future};
use trivium_proto::{
    model::v1::{
        AnalyzeRequest, AnalyzeResponse, GenerateRequest, ListModelsRequest, Model, generate_response,
        model_service_client::ModelServiceClient,
    },
    retriever::v1::{
        Collection, GetCollectionRequest, ListCollectionsRequest, SearchRequest, SearchResponse,
        retriever_service_client::RetrieverServiceClient,
    },
};
use trivium_service_kit::{ClientOptions, ConfigError, Deadline, Error, GrpcChannel, Reason, Service};

/// The model host.
#[derive(Clone, Debug)]
pub(crate) struct ModelHost(ModelServiceClient<GrpcChannel>);

impl ModelHost {
    /// A client that connects when it is first used.
    pub fn connect(options: &ClientOptions) -> Result<Self, ConfigError> {
        let channel = GrpcChannel::connect(Service::Router, Service::ModelHost, options)?;
        Ok(Self(ModelServiceClient::new(channel).max_decoding_message_size(options.max_message_bytes)))
    }

    /// A query's intent and vector, each on request.
    pub async fn analyze(&self, request: AnalyzeRequest, deadline: Deadline) -> Result<AnalyzeResponse, Error> {
        Ok(self.0.clone().analyze(deadline.request(request)).await?.into_inner())
    }

    /// A generation, event by event. Dropping the stream cancels it.
    pub async fn generate(
        &self,
        request: GenerateRequest,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<generate_response::Event, Error>> + Send + Unpin + use<>, Error> {
        let events = self.0.clone().generate(deadline.request(request)).await?.into_inner();
        // A message without an event comes from a newer model host, and says nothing to this router.
        Ok(events
            .filter_map(|message| future::ready(message.map(|message| message.event).map_err(Error::from).transpose())))
    }

    /// Every bundle that the model host has.
    pub async fn list_models(&self, deadline: Deadline) -> Result<Vec<Model>, Error> {
        Ok(self.0.clone().list_models(deadline.request(ListModelsRequest {})).await?.into_inner().models)
    }
}

/// The retriever.
#[derive(Clone, Debug)]
pub(crate) struct Retriever(RetrieverServiceClient<GrpcChannel>);

impl Retriever {
    /// A client that connects when it is first used.
    pub fn connect(options: &ClientOptions) -> Result<Self, ConfigError> {
        let channel = GrpcChannel::connect(Service::Router, Service::Retriever, options)?;
        Ok(Self(RetrieverServiceClient::new(channel).max_decoding_message_size(options.max_message_bytes)))
    }

    /// The search of one collection.
    pub async fn search(&self, request: SearchRequest, deadline: Deadline) -> Result<SearchResponse, Error> {
        Ok(self.0.clone().search(deadline.request(request)).await?.into_inner())
    }

    /// One collection, in its published state.
    pub async fn collection(&self, name: &str, deadline: Deadline) -> Result<Collection, Error> {
        let request = deadline.request(GetCollectionRequest { name: name.to_owned() });
        let response = self.0.clone().get_collection(request).await?.into_inner();
        response.collection.ok_or_else(|| Error::new(Reason::Internal, "the retriever described no collection"))
    }

    /// The names of all collections.
    pub async fn list_collections(&self, deadline: Deadline) -> Result<Vec<String>, Error> {
        let response = self.0.clone().list_collections(deadline.request(ListCollectionsRequest {})).await?;
        Ok(response.into_inner().collections.into_iter().map(|collection| collection.name).collect())
    }
}
