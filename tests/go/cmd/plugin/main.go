// Plugin is a go-plugin plugin for the tests that has every service of the contract. Its tools do
// what a test wants to see done: see tools.go. Its channel and its provider behave as the contract
// suites of sigil_actors.testing say.
package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	hostv1 "sigil-actors.dev/proto/sigil/host/v1"

	pluginv1 "sigil-actors.dev/proto/plugin/v1"
)

const hostServiceID = 1

// server is the plugin.
type server struct {
	pluginv1.UnimplementedPluginLifecycleServer
	pluginv1.UnimplementedToolServer
	pluginv1.UnimplementedChannelServer
	pluginv1.UnimplementedProviderServer

	log    hclog.Logger
	broker *plugin.GRPCBroker

	mutex     sync.Mutex
	config    *structpb.Struct
	listeners map[chan *pluginv1.InboundMessage]struct{}

	dialed chan struct{} // closed when host or failed is set
	host   hostv1.HostClient
	noHost error
}

// dial connects to the host right away: go-plugin forgets what the host announced after 5 seconds.
func (s *server) dial() {
	defer close(s.dialed)
	connection, err := s.broker.Dial(hostServiceID)
	if err != nil {
		s.noHost = err
		return
	}
	s.host = hostv1.NewHostClient(connection)
}

// setting is a text in the configuration; empty where there is none.
func (s *server) setting(name string) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.config.GetFields()[name].GetStringValue()
}

func (s *server) Init(_ context.Context, request *pluginv1.InitRequest) (*pluginv1.InitResponse, error) {
	s.mutex.Lock()
	s.config = request.Config
	s.mutex.Unlock()
	if reason := s.setting("refuse"); reason != "" {
		return &pluginv1.InitResponse{Error: reason}, nil
	}
	return &pluginv1.InitResponse{Ok: true}, nil
}

func (s *server) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	status := pluginv1.HealthStatus_HEALTH_STATUS_HEALTHY
	if wanted := s.setting("health"); wanted != "" {
		status = pluginv1.HealthStatus(pluginv1.HealthStatus_value["HEALTH_STATUS_"+wanted])
	}
	return &pluginv1.HealthResponse{Status: status, Message: s.setting("health_message")}, nil
}

func (s *server) Shutdown(context.Context, *pluginv1.ShutdownRequest) (*pluginv1.ShutdownResponse, error) {
	switch s.setting("shutdown") {
	case "hang":
		select {}
	case "unclean":
		return &pluginv1.ShutdownResponse{}, nil
	}
	return &pluginv1.ShutdownResponse{Clean: true}, nil
}

// serves says whether the plugin is of that type: the variable SERVES names one, else it is of all.
func serves(kind string) bool {
	wanted := os.Getenv("SERVES")
	return wanted == "" || wanted == kind
}

type contractPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	log hclog.Logger
}

func (p contractPlugin) GRPCServer(broker *plugin.GRPCBroker, registrar *grpc.Server) error {
	s := &server{
		log:       p.log,
		broker:    broker,
		listeners: make(map[chan *pluginv1.InboundMessage]struct{}),
		dialed:    make(chan struct{}),
	}
	go s.dial()
	pluginv1.RegisterPluginLifecycleServer(registrar, s)
	if serves("tool") {
		pluginv1.RegisterToolServer(registrar, s)
	}
	if serves("channel") {
		pluginv1.RegisterChannelServer(registrar, s)
	}
	if serves("provider") {
		pluginv1.RegisterProviderServer(registrar, s)
	}
	return nil
}

func (contractPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin only")
}

func main() {
	log := hclog.New(&hclog.LoggerOptions{Name: "plugin", Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   "SIGIL_PLUGIN",
			MagicCookieValue: "aGFzaGljb3JwLWdvLXBsdWdpbg==",
		},
		Plugins: plugin.PluginSet{"plugin": contractPlugin{log: log}},
		Logger:  log,
		// The defaults take messages of 4 MiB.
		GRPCServer: plugin.DefaultGRPCServer,
	})
}
