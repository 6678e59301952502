"""The native front: gRPC in C++, Python once a batch; see service/native/README.md."""
