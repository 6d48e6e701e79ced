// Pluginhost is a go-plugin host for the tests: it runs a plugin of the contract, calls what it is
// told to, ends it, and prints as JSON what it saw.
//
//	pluginhost [flags] -- command argument...
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	commonv1 "sigil-actors.dev/proto/common/v1"
	pluginv1 "sigil-actors.dev/proto/plugin/v1"
	hostv1 "sigil-actors.dev/proto/sigil/host/v1"
)

const hostServiceID = 1

// report is what is printed.
type report struct {
	Tools      []*commonv1.ToolDefinition `json:"tools"`
	Answers    []answer                   `json:"answers"`
	HostCalls  []hostCall                 `json:"host_calls"`
	Log        []map[string]any           `json:"log"`
	Stdout     string                     `json:"stdout"`
	KillMs     int64                      `json:"kill_ms"`
	ExitStatus int                        `json:"exit_status"`
}

type answer struct {
	Tool  string `json:"tool"`
	Text  string `json:"text"`
	Error string `json:"error"`
	Done  bool   `json:"done"`
}

type hostCall struct {
	Capability string `json:"capability"`
	Payload    string `json:"payload"`
	Session    string `json:"session"`
}

// host serves sigil.host.v1.Host: it allows what isn't called denied, and answers the payload.
type host struct {
	hostv1.UnimplementedHostServer
	mutex sync.Mutex
	calls []hostCall
}

func (h *host) Call(_ context.Context, request *hostv1.CallRequest) (*hostv1.CallResponse, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.calls = append(h.calls, hostCall{request.Capability, string(request.Payload), request.SessionId})
	if strings.HasPrefix(request.Capability, "denied") {
		return nil, status.Error(codes.PermissionDenied, "plugin_allow_missing")
	}
	return &hostv1.CallResponse{Payload: append([]byte("answer to "), request.Payload...)}, nil
}

func (h *host) Check(_ context.Context, request *hostv1.CheckRequest) (*hostv1.CheckResponse, error) {
	return &hostv1.CheckResponse{Allowed: !strings.HasPrefix(request.Capability, "denied")}, nil
}

// contract is what go-plugin makes a client of.
type contract struct {
	plugin.NetRPCUnsupportedPlugin
	host *host
}

func (contract) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errors.New("a host only") }

func (c contract) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) {
	go broker.AcceptAndServe(hostServiceID, func(options []grpc.ServerOption) *grpc.Server {
		server := grpc.NewServer(options...)
		hostv1.RegisterHostServer(server, c.host)
		return server
	})
	return pluginv1.NewToolClient(connection), nil
}

// texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string         { return strings.Join(*t, " ") }
func (t *texts) Set(value string) error { *t = append(*t, value); return nil }

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(data)
}

func (b *buffer) read() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.String()
}

func main() {
	autoMTLS := flag.Bool("auto-mtls", false, "have both sides check the other's certificate")
	session := flag.String("session", "", "the session token of each call")
	stay := flag.Bool("stay", false, "print the plugin's process and wait for ever")
	until := flag.String("until", "", "wait until the plugin's output has this text")
	var calls texts
	flag.Var(&calls, "call", "TOOL=ARGUMENTS; may be given several times")
	flag.Parse()
	if err := run(flag.Args(), calls, *session, *until, *autoMTLS, *stay); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(argv, calls []string, session, until string, autoMTLS, stay bool) error {
	told := report{}
	served := &host{}
	var stdout, log buffer
	command := exec.Command(argv[0], argv[1:]...)
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   "SIGIL_PLUGIN",
			MagicCookieValue: "aGFzaGljb3JwLWdvLXBsdWdpbg==",
		},
		Plugins:          plugin.PluginSet{"plugin": contract{host: served}},
		Cmd:              command,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         autoMTLS,
		SyncStdout:       &stdout,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log, JSONFormat: true}),
	})
	defer client.Kill()
	protocol, err := client.Client()
	if err != nil {
		return err
	}
	// This is a health check.
	if err := protocol.Ping(); err != nil {
		return err
	}
	dispensed, err := protocol.Dispense("plugin")
	if err != nil {
		return err
	}
	tool := dispensed.(pluginv1.ToolClient)
	if stay {
		fmt.Println(command.Process.Pid)
		select {}
	}
	described, err := tool.Describe(context.Background(), &pluginv1.DescribeRequest{})
	if err != nil {
		return err
	}
	told.Tools = described.Tools
	for _, call := range calls {
		name, arguments, _ := strings.Cut(call, "=")
		answered, err := execute(tool, name, arguments, session)
		if err != nil {
			return err
		}
		told.Answers = append(told.Answers, answered)
	}
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(stdout.read(), until); {
		if time.Now().After(deadline) {
			return fmt.Errorf("its output is %q", stdout.read())
		}
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	client.Kill()
	told.KillMs = time.Since(began).Milliseconds()
	told.ExitStatus = command.ProcessState.ExitCode()
	told.Stdout = stdout.read()
	told.HostCalls = served.calls
	if told.Log, err = entries(log.read()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

func execute(tool pluginv1.ToolClient, name, arguments, session string) (answer, error) {
	answered := answer{Tool: name}
	// A token comes in both ways; this host uses one of them, by turns.
	ctx, request := context.Background(), &pluginv1.ExecuteRequest{ToolName: name, Arguments: arguments}
	if strings.HasPrefix(session, "metadata:") {
		ctx = metadata.AppendToOutgoingContext(ctx, "sigil-call", session)
	} else {
		request.SessionId = session
	}
	stream, err := tool.Execute(ctx, request)
	if err != nil {
		return answered, err
	}
	for {
		chunk, err := stream.Recv()
		if err == io.EOF {
			return answered, nil
		}
		if err != nil {
			return answered, err
		}
		answered.Text += chunk.GetText()
		answered.Error += chunk.GetError()
		answered.Done = answered.Done || chunk.GetDone()
	}
}

func entries(log string) ([]map[string]any, error) {
	var all []map[string]any
	decoder := json.NewDecoder(strings.NewReader(log))
	for {
		var entry map[string]any
		if err := decoder.Decode(&entry); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
}
