// Command grpcpeer is a gRPC peer by grpc-go for the tests: a server with the methods of
// tests/rpc/serving.py, or a client that runs a script of calls against such a server. It has no
// .proto: messages are google.protobuf.BytesValue.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: grpcpeer server|client unix:PATH [TLS_FOLDER]")
		os.Exit(2)
	}
	folder := ""
	if len(os.Args) > 3 {
		folder = os.Args[3]
	}
	run := map[string]func(address, folder string) error{"server": serve, "client": call}[os.Args[1]]
	if run == nil {
		fmt.Fprintln(os.Stderr, "server or client?")
		os.Exit(2)
	}
	if err := run(os.Args[2], folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
