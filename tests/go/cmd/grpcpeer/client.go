package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const patience = 20 * time.Second

func ask(ctx context.Context, to *grpc.ClientConn, name string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	answer := new(bytesValue)
	err := to.Invoke(ctx, "/test.Test/"+name, wrapperspb.Bytes(request), answer, options...)
	return answer.Value, err
}

// stream sends the requests, half-closes, and returns all answers.
func stream(ctx context.Context, to *grpc.ClientConn, name string, requests ...[]byte) ([][]byte, error) {
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	call, err := to.NewStream(ctx, both, "/test.Test/"+name)
	if err != nil {
		return nil, err
	}
	for _, request := range requests {
		if err := call.SendMsg(wrapperspb.Bytes(request)); err != nil {
			return nil, err
		}
	}
	if err := call.CloseSend(); err != nil {
		return nil, err
	}
	var answers [][]byte
	for {
		answer := new(bytesValue)
		if err := call.RecvMsg(answer); err == io.EOF {
			return answers, nil
		} else if err != nil {
			return answers, err
		}
		answers = append(answers, answer.Value)
	}
}

func call(address, folder string) error {
	creds := insecure.NewCredentials()
	if folder != "" {
		var err error
		if creds, err = credentials.NewClientTLSFromFile(folder+"/certificate.pem", "localhost"); err != nil {
			return err
		}
	}
	to, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithAuthority("localhost"))
	if err != nil {
		return err
	}
	defer to.Close()
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	results := map[string]string{}
	note := func(name string, fine bool, err error, what any) {
		if fine && err == nil {
			results[name] = "ok"
		} else {
			results[name] = fmt.Sprint(err, what)
		}
	}

	answer, err := ask(ctx, to, "Echo", []byte("hello"))
	note("unary", string(answer) == "hello", err, answer)
	answer, err = ask(ctx, to, "Echo", nil)
	note("empty", len(answer) == 0, err, answer)
	big := bytes.Repeat([]byte("b"), 3<<20)
	answer, err = ask(ctx, to, "Echo", big)
	note("big", bytes.Equal(answer, big), err, len(answer))
	answers, err := stream(ctx, to, "Count", []byte("1000"))
	note("server stream", len(answers) == 1000, err, len(answers))
	answers, err = stream(ctx, to, "Blocks", []byte("100"))
	note("bulk", len(answers) == 100, err, len(answers))
	answers, err = stream(ctx, to, "Join", []byte("a"), []byte("b"), []byte("c"))
	note("client stream", len(answers) == 1 && string(answers[0]) == "abc", err, answers)
	answers, err = stream(ctx, to, "Turn", []byte("ab"), []byte("cd"))
	note("both stream", len(answers) == 2 && string(answers[1]) == "dc", err, answers)

	with := metadata.AppendToOutgoingContext(ctx, "who", "me", "key-bin", "\x00\x01")
	var head, tail metadata.MD
	answer, err = ask(with, to, "Metadata", nil, grpc.Header(&head), grpc.Trailer(&tail))
	fine := strings.Contains(string(answer), "me") && head.Get("raw-bin")[0] == "\x00\xff" && tail.Get("last")[0] == "2"
	note("metadata", fine, err, string(answer))

	tail = nil
	_, err = ask(ctx, to, "Fail", []byte("nö: 100 %"), grpc.Trailer(&tail))
	told := status.Convert(err)
	fine = told.Code() == codes.NotFound && told.Message() == "nö: 100 %" && tail.Get("why-bin")[0] == "\x01"
	note("status", fine, nil, err)
	_, err = ask(ctx, to, "Nothing", nil)
	note("unimplemented", status.Code(err) == codes.Unimplemented, nil, err)

	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	_, err = ask(soon, to, "Hang", nil)
	cancel()
	note("deadline", status.Code(err) == codes.DeadlineExceeded, nil, err)
	stopped, cancel := context.WithCancel(ctx)
	go func() { time.Sleep(20 * time.Millisecond); cancel() }()
	_, err = ask(stopped, to, "Hang", nil)
	note("cancel", status.Code(err) == codes.Canceled, nil, err)
	answer, err = ask(ctx, to, "Echo", []byte("still"))
	note("after all that", string(answer) == "still", err, answer)
	return json.NewEncoder(os.Stdout).Encode(results)
}
