// Benchhost is a go-plugin host for the benchmarks: it does what each line of its input asks for,
// and answers each with a line. Questions and answers are JSON; benchmarks/hosts/lines.py has both.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pluginv1 "sigil-actors.dev/proto/plugin/v1"
)

type question struct {
	Do       string   `json:"do"`
	Argv     []string `json:"argv"`
	Address  string   `json:"address"`
	Pid      int      `json:"pid"`
	Seconds  float64  `json:"seconds"`
	InFlight int      `json:"in_flight"`
	Chunks   int      `json:"chunks"`
}

type answer struct {
	Value float64 `json:"value"`
	// CPUMicroseconds is what a call took of this host's processor time; 0 where it isn't measured.
	CPUMicroseconds float64 `json:"cpu_us"`
}

// stub is what go-plugin makes a client of.
type stub struct {
	plugin.NetRPCUnsupportedPlugin
}

type clients struct {
	channel pluginv1.ChannelClient
	tool    pluginv1.ToolClient
}

func (stub) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errors.New("a host only") }

func (stub) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) {
	return &clients{pluginv1.NewChannelClient(connection), pluginv1.NewToolClient(connection)}, nil
}

func open(config *plugin.ClientConfig) (*plugin.Client, *clients, error) {
	config.HandshakeConfig = plugin.HandshakeConfig{
		ProtocolVersion:  1,
		MagicCookieKey:   "SIGIL_PLUGIN",
		MagicCookieValue: "aGFzaGljb3JwLWdvLXBsdWdpbg==",
	}
	config.Plugins = plugin.PluginSet{"plugin": stub{}}
	config.AllowedProtocols = []plugin.Protocol{plugin.ProtocolGRPC}
	config.Logger = hclog.NewNullLogger()
	client := plugin.NewClient(config)
	protocol, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	dispensed, err := protocol.Dispense("plugin")
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	return client, dispensed.(*clients), nil
}

var request = &pluginv1.GetIdentityRequest{PlatformUserId: "someone"}

func (c *clients) call() error {
	_, err := c.channel.GetIdentity(context.Background(), request)
	return err
}

// host is the plugin that it is connected to, if any.
type host struct {
	client  *plugin.Client
	clients *clients
}

func (h *host) do(q question) (answer, error) {
	switch q.Do {
	case "launch":
		var err error
		h.client, h.clients, err = open(&plugin.ClientConfig{Cmd: exec.Command(q.Argv[0], q.Argv[1:]...)})
		return answer{}, err
	case "attach":
		var err error
		_, h.clients, err = open(&plugin.ClientConfig{Reattach: &plugin.ReattachConfig{
			Protocol:        plugin.ProtocolGRPC,
			ProtocolVersion: 1,
			Addr:            &net.UnixAddr{Name: q.Address, Net: "unix"},
			Pid:             q.Pid,
		}})
		return answer{}, err
	case "cold":
		return cold(q.Argv)
	case "unary":
		return h.unary(q.Seconds)
	case "rate":
		return h.rate(q.Seconds, q.InFlight)
	case "chunks":
		return h.chunks(q.Chunks)
	}
	return answer{}, fmt.Errorf("no %q here", q.Do)
}

// cold gives the milliseconds from before a plugin is started to its first reply.
func cold(argv []string) (answer, error) {
	began := time.Now()
	client, clients, err := open(&plugin.ClientConfig{Cmd: exec.Command(argv[0], argv[1:]...)})
	if err != nil {
		return answer{}, err
	}
	defer client.Kill()
	if err := clients.call(); err != nil {
		return answer{}, err
	}
	return answer{Value: float64(time.Since(began).Nanoseconds()) / 1e6}, nil
}

// unary gives the median of the microseconds that a call takes.
func (h *host) unary(seconds float64) (answer, error) {
	var times []time.Duration
	until := time.Now().Add(time.Duration(seconds * 1e9))
	for len(times) == 0 || time.Now().Before(until) {
		began := time.Now()
		if err := h.clients.call(); err != nil {
			return answer{}, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return answer{Value: float64(times[len(times)/2].Nanoseconds()) / 1e3}, nil
}

// rate gives the calls a second where there is always that number of them under way.
func (h *host) rate(seconds float64, inFlight int) (answer, error) {
	var calls atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, inFlight)
	cpu, began := processorTime(), time.Now()
	until := began.Add(time.Duration(seconds * 1e9))
	for range inFlight {
		group.Go(func() {
			for first := true; first || time.Now().Before(until); first = false {
				if err := h.clients.call(); err != nil {
					failed <- err
					return
				}
				calls.Add(1)
			}
		})
	}
	group.Wait()
	passed, count := time.Since(began).Seconds(), float64(calls.Load())
	select {
	case err := <-failed:
		return answer{}, err
	default:
	}
	return answer{count / passed, (processorTime() - cpu).Seconds() / count * 1e6}, nil
}

// chunks gives the microseconds that each chunk of a long answer takes.
func (h *host) chunks(count int) (answer, error) {
	began := time.Now()
	stream, err := h.clients.tool.Execute(context.Background(), &pluginv1.ExecuteRequest{
		ToolName: "big", Arguments: fmt.Sprintf(`{"chunks": %d, "bytes": 32}`, count),
	})
	if err != nil {
		return answer{}, err
	}
	for received := 0; ; received++ {
		_, err := stream.Recv()
		if err == io.EOF {
			return answer{Value: time.Since(began).Seconds() / float64(received) * 1e6}, nil
		}
		if err != nil {
			return answer{}, err
		}
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	h := &host{}
	defer func() {
		if h.client != nil {
			h.client.Kill()
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var q question
		err := json.Unmarshal(lines.Bytes(), &q)
		var a answer
		if err == nil {
			a, err = h.do(q)
		}
		if err != nil {
			out.Encode(map[string]string{"error": err.Error()})
		} else {
			out.Encode(a)
		}
	}
}
