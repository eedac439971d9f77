"""Streams one answer: stream_answer.py HOST:PORT QUESTION, with the stubs of proto/ on the path."""
import sys
import grpc
from trivium.router.v1 import router_service_pb2 as pb, router_service_pb2_grpc as rpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    router = rpc.RouterServiceStub(channel)
    for event in router.QueryStream(pb.QueryStreamRequest(query=sys.argv[2]), timeout=10):
        if event.WhichOneof("event") == "text":
            print(event.text, end="", flush=True)
        elif event.WhichOneof("event") == "account":
            print("\ntrace", event.account.trace_id)
