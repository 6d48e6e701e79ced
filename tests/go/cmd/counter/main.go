// Counter is a go-plugin plugin that has nothing to do with this project's contract: its own cookie,
// its own versions, its own service. Its messages are well-known types, so that no code is generated.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type counter struct {
	version int64
	total   atomic.Int64
	broker  *plugin.GRPCBroker
	log     hclog.Logger
}

func (c *counter) add(_ context.Context, by *wrapperspb.Int64Value) (*wrapperspb.Int64Value, error) {
	return wrapperspb.Int64(c.total.Add(by.Value)), nil
}

func (c *counter) spokenVersion(context.Context, *emptypb.Empty) (*wrapperspb.Int64Value, error) {
	return wrapperspb.Int64(c.version), nil
}

// say writes the text to everything that a plugin can write to.
func (c *counter) say(_ context.Context, text *wrapperspb.StringValue) (*emptypb.Empty, error) {
	c.log.Warn(text.Value, "through", "hclog")
	fmt.Println("out: " + text.Value)
	fmt.Fprintln(os.Stderr, "err: "+text.Value)
	return &emptypb.Empty{}, nil
}

// ask calls back: the host serves counter.Callback under that number of the broker.
func (c *counter) ask(ctx context.Context, id *wrapperspb.UInt32Value) (*wrapperspb.StringValue, error) {
	connection, err := c.broker.Dial(id.Value)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	answer := &wrapperspb.StringValue{}
	err = connection.Invoke(ctx, "/counter.Callback/Answer", wrapperspb.String("how are you?"), answer)
	return answer, err
}

// serve serves this service once more, under a new number of the broker, and returns the number.
func (c *counter) serve(context.Context, *emptypb.Empty) (*wrapperspb.UInt32Value, error) {
	id := c.broker.NextId()
	go c.broker.AcceptAndServe(id, func(options []grpc.ServerOption) *grpc.Server {
		server := grpc.NewServer(options...)
		server.RegisterService(description(), c)
		return server
	})
	return wrapperspb.UInt32(id), nil
}

func (c *counter) crash(_ context.Context, text *wrapperspb.StringValue) (*emptypb.Empty, error) {
	go panic(errors.New(text.Value))
	select {}
}

func upto(_ any, stream grpc.ServerStream) error {
	last := &wrapperspb.Int64Value{}
	if err := stream.RecvMsg(last); err != nil {
		return err
	}
	for number := int64(1); number <= last.Value; number++ {
		if err := stream.SendMsg(wrapperspb.Int64(number)); err != nil {
			return err
		}
	}
	return nil
}

func unary[In, Out any](name string, call func(*counter, context.Context, *In) (*Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(In)
			if err := decode(in); err != nil {
				return nil, err
			}
			return call(server.(*counter), ctx, in)
		},
	}
}

func description() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "counter.Counter",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Add", (*counter).add),
			unary("Version", (*counter).spokenVersion),
			unary("Say", (*counter).say),
			unary("Ask", (*counter).ask),
			unary("Serve", (*counter).serve),
			unary("Crash", (*counter).crash),
		},
		Streams: []grpc.StreamDesc{{StreamName: "Upto", Handler: upto, ServerStreams: true}},
	}
}

type counterPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	version int64
	log     hclog.Logger
}

func (p counterPlugin) GRPCServer(broker *plugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(description(), &counter{version: p.version, broker: broker, log: p.log})
	return nil
}

func (counterPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin only")
}

func main() {
	log := hclog.New(&hclog.LoggerOptions{Name: "counter", Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  2,
			MagicCookieKey:   "COUNTER_PLUGIN",
			MagicCookieValue: "one two three",
		},
		VersionedPlugins: map[int]plugin.PluginSet{
			2: {"counter": counterPlugin{version: 2, log: log}},
			3: {"counter": counterPlugin{version: 3, log: log}},
		},
		Logger:     log,
		GRPCServer: plugin.DefaultGRPCServer,
	})
}
