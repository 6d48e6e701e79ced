// Command grpcpeer is a gRPC peer by grpc-go for the tests: a server, or a client that runs a
// script of calls against a server. It has no .proto: messages are google.protobuf.BytesValue.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: grpcpeer server|client ADDRESS [TLS_FOLDER]")
		os.Exit(2)
	}
}
