// Go-tool is a plugin in Go: hashicorp/go-plugin serves it, and it keeps what it counts with its host.
//
// Build it beside its plugin.yaml: CGO_ENABLED=0 go build -o go-tool .
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	commonv1 "sigil-actors.dev/proto/common/v1"
	pluginv1 "sigil-actors.dev/proto/plugin/v1"
	hostv1 "sigil-actors.dev/proto/sigil/host/v1"
)

const hostService = 1 // where the host's functions are, on the broker

type tool struct {
	pluginv1.UnimplementedPluginLifecycleServer
	pluginv1.UnimplementedToolServer
	log hclog.Logger
	// host connects to the host's functions when they are first wanted. Once: go-plugin's broker gives
	// an announced service away a single time.
	host func() (*grpc.ClientConn, error)
}

func (t *tool) Init(context.Context, *pluginv1.InitRequest) (*pluginv1.InitResponse, error) {
	return &pluginv1.InitResponse{Ok: true}, nil
}

func (t *tool) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	return &pluginv1.HealthResponse{Status: pluginv1.HealthStatus_HEALTH_STATUS_HEALTHY}, nil
}

func (t *tool) Shutdown(context.Context, *pluginv1.ShutdownRequest) (*pluginv1.ShutdownResponse, error) {
	return &pluginv1.ShutdownResponse{Clean: true}, nil
}

func (t *tool) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	schema, err := structpb.NewStruct(map[string]any{
		"type":       "object",
		"properties": map[string]any{"text": map[string]any{"type": "string"}},
		"required":   []any{"text"},
	})
	if err != nil {
		return nil, err
	}
	return &pluginv1.DescribeResponse{Tools: []*commonv1.ToolDefinition{
		{Name: "words", Description: "Answer each word of a text.", InputSchema: schema},
		{Name: "count", Description: "Count words, all calls together.", InputSchema: schema},
	}}, nil
}

func (t *tool) Execute(request *pluginv1.ExecuteRequest, answer grpc.ServerStreamingServer[pluginv1.ExecuteChunk]) error {
	var arguments struct{ Text string }
	if err := json.Unmarshal([]byte(request.Arguments), &arguments); err != nil {
		return refuse(answer, err)
	}
	words := strings.Fields(arguments.Text)
	switch request.ToolName {
	case "words":
		for _, word := range words {
			if err := answer.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Text{Text: word}}); err != nil {
				return err
			}
		}
	case "count":
		total, err := t.add(answer.Context(), len(words), request.SessionId)
		if err != nil {
			return refuse(answer, err)
		}
		t.log.Info("counted", "words", len(words), "total", total)
		text := fmt.Sprintf("%d words so far", total)
		if err := answer.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Text{Text: text}}); err != nil {
			return err
		}
	default:
		return refuse(answer, fmt.Errorf("there is no tool %q", request.ToolName))
	}
	return answer.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Done{Done: true}})
}

// add keeps the sum with the host, by its function for keys and values, on the caller's behalf.
func (t *tool) add(ctx context.Context, words int, session string) (int, error) {
	connection, err := t.host()
	if err != nil {
		return 0, err
	}
	host := hostv1.NewHostClient(connection)
	ask := func(capability string, payload, into any) error {
		encoded, err := json.Marshal(payload)
		if err != nil {
			return err
		}
		got, err := host.Call(ctx, &hostv1.CallRequest{Capability: capability, Payload: encoded, SessionId: session})
		if err != nil || into == nil {
			return err
		}
		return json.Unmarshal(got.Payload, into)
	}
	var kept struct{ Value int }
	if err := ask("kv.get", map[string]any{"key": "words"}, &kept); err != nil {
		return 0, err
	}
	total := kept.Value + words
	return total, ask("kv.set", map[string]any{"key": "words", "value": total}, nil)
}

func refuse(answer grpc.ServerStreamingServer[pluginv1.ExecuteChunk], why error) error {
	return answer.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Error{Error: why.Error()}})
}

// served is what go-plugin wants to know of the plugin.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	log hclog.Logger
}

func (s served) GRPCServer(broker *plugin.GRPCBroker, server *grpc.Server) error {
	t := &tool{log: s.log, host: sync.OnceValues(func() (*grpc.ClientConn, error) {
		return broker.Dial(hostService)
	})}
	pluginv1.RegisterPluginLifecycleServer(server, t)
	pluginv1.RegisterToolServer(server, t)
	return nil
}

func (served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this side only serves")
}

func main() {
	log := hclog.New(&hclog.LoggerOptions{Name: "go-tool", Output: os.Stderr, JSONFormat: true})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   "SIGIL_PLUGIN",
			MagicCookieValue: "aGFzaGljb3JwLWdvLXBsdWdpbg==",
		},
		Plugins:    plugin.PluginSet{"tool": served{log: log}},
		Logger:     log,
		GRPCServer: plugin.DefaultGRPCServer,
	})
}
