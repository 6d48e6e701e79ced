package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type bytesValue = wrapperspb.BytesValue

type unary func(context.Context, []byte) ([]byte, error)

// method makes a unary method's description out of a function of bytes.
func method(name string, run unary) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(bytesValue)
			if err := decode(request); err != nil {
				return nil, err
			}
			answer, err := run(ctx, request.Value)
			return wrapperspb.Bytes(answer), err
		},
	}
}

func described(ctx context.Context, _ []byte) ([]byte, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	grpc.SetHeader(ctx, metadata.Pairs("first", "1", "raw-bin", "\x00\xff"))
	grpc.SetTrailer(ctx, metadata.Pairs("last", "2"))
	return []byte(strings.Join(given.Get("who"), ",") + "|" + strings.Join(given.Get("key-bin"), ",")), nil
}

func failed(ctx context.Context, request []byte) ([]byte, error) {
	grpc.SetTrailer(ctx, metadata.Pairs("why-bin", "\x01"))
	return nil, status.Error(codes.NotFound, string(request))
}

func hung(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func count(_ any, stream grpc.ServerStream) error {
	request := new(bytesValue)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	wanted, err := strconv.Atoi(string(request.Value))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for i := range wanted {
		if err := stream.SendMsg(wrapperspb.Bytes([]byte(strconv.Itoa(i)))); err != nil {
			return err
		}
	}
	return nil
}

func blocks(_ any, stream grpc.ServerStream) error {
	request := new(bytesValue)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	wanted, _ := strconv.Atoi(string(request.Value))
	for range wanted {
		if err := stream.SendMsg(wrapperspb.Bytes(make([]byte, 64*1024))); err != nil {
			return err
		}
	}
	return nil
}

func join(_ any, stream grpc.ServerStream) error {
	var all []byte
	for {
		request := new(bytesValue)
		if err := stream.RecvMsg(request); err == io.EOF {
			return stream.SendMsg(wrapperspb.Bytes(all))
		} else if err != nil {
			return err
		}
		all = append(all, request.Value...)
	}
}

func turn(_ any, stream grpc.ServerStream) error {
	for {
		request := new(bytesValue)
		if err := stream.RecvMsg(request); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		slices.Reverse(request.Value)
		if err := stream.SendMsg(request); err != nil {
			return err
		}
	}
}

var service = grpc.ServiceDesc{
	ServiceName: "test.Test",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		method("Echo", func(_ context.Context, request []byte) ([]byte, error) { return request, nil }),
		method("Metadata", described),
		method("Fail", failed),
		method("Hang", hung),
	},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: count, ServerStreams: true},
		{StreamName: "Blocks", Handler: blocks, ServerStreams: true},
		{StreamName: "Join", Handler: join, ClientStreams: true},
		{StreamName: "Turn", Handler: turn, ServerStreams: true, ClientStreams: true},
	},
}

func serve(address, folder string) error {
	var options []grpc.ServerOption
	if folder != "" {
		creds, err := credentials.NewServerTLSFromFile(folder+"/certificate.pem", folder+"/key.pem")
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(creds))
	}
	listener, err := net.Listen("unix", strings.TrimPrefix(address, "unix:"))
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&service, struct{}{})
	go func() { // whoever started this closes its input in the end
		io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	fmt.Println("listening")
	return server.Serve(listener)
}
