package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "sigil-actors.dev/proto/common/v1"
	pluginv1 "sigil-actors.dev/proto/plugin/v1"
)

func (s *server) ListModels(context.Context, *pluginv1.ListModelsRequest) (*pluginv1.ListModelsResponse, error) {
	return &pluginv1.ListModelsResponse{Models: []*pluginv1.ModelInfo{
		{Id: "echo", Name: "Echo", Provider: "contract", Capabilities: &commonv1.ModelCapabilities{
			SupportsTools:     true,
			SupportsVision:    true,
			SupportsStreaming: true,
			SupportsThinking:  true,
			MaxContextTokens:  200_000,
			MaxOutputTokens:   8000,
		}},
		{Id: "error"}, {Id: "crash"}, {Id: "endless"},
	}}, nil
}

func (s *server) Status(ctx context.Context, _ *pluginv1.StatusRequest) (*pluginv1.StatusResponse, error) {
	return &pluginv1.StatusResponse{
		Available:     true,
		Provider:      "contract",
		Message:       token(ctx),
		FailureCount:  1 << 40,
		LastFailureAt: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}, nil
}

type chat struct {
	stream grpc.ServerStreamingServer[pluginv1.ChatEvent]
}

func (c chat) say(text string) error {
	return c.stream.Send(&pluginv1.ChatEvent{Event: &pluginv1.ChatEvent_TextDelta{TextDelta: &pluginv1.TextDelta{Text: text}}})
}

func (s *server) Chat(request *pluginv1.ChatRequest, stream grpc.ServerStreamingServer[pluginv1.ChatEvent]) error {
	c := chat{stream}
	switch request.Model {
	case "echo":
		return c.echo(request)
	case "error":
		if err := c.say("so far"); err != nil {
			return err
		}
		return stream.Send(&pluginv1.ChatEvent{Event: &pluginv1.ChatEvent_Error{Error: "it went wrong"}})
	case "crash":
		os.Exit(3)
	case "endless":
		if err := c.say("started"); err != nil {
			return err
		}
		<-stream.Context().Done()
	}
	return nil
}

func (c chat) echo(request *pluginv1.ChatRequest) error {
	said := []string{token(c.stream.Context()), request.SystemPrompt}
	for _, message := range request.Messages {
		role := strings.ToLower(strings.TrimPrefix(message.Role.String(), "ROLE_"))
		moment := ""
		if message.CreatedAt != nil {
			moment = message.CreatedAt.AsTime().Format("2006-01-02T15:04:05.000000+00:00")
		}
		metadata := map[string]any{}
		for name, value := range message.Metadata {
			metadata[name] = value
		}
		said = append(said, strings.Join([]string{
			role, message.Content, message.Id, message.SessionId, message.ToolCallId, message.ToolName,
			moment, pythonJSON(metadata),
		}, "|"))
	}
	options := request.Options
	stream := map[bool]string{true: "True", false: "False"}[options.GetStream()]
	said = append(said, fmt.Sprintf("%g|%d|%s|%s", options.GetTemperature(), options.GetMaxTokens(),
		strings.Join(options.GetStopSequences(), ","), stream))
	for _, text := range said {
		if err := c.say(text); err != nil {
			return err
		}
	}
	for _, tool := range request.Tools {
		err := c.stream.Send(&pluginv1.ChatEvent{Event: &pluginv1.ChatEvent_ToolCall{ToolCall: &commonv1.ToolCall{
			Id: tool.Description, Name: tool.Name, Arguments: pythonJSON(tool.InputSchema.AsMap()),
		}}})
		if err != nil {
			return err
		}
	}
	if err := c.stream.Send(&pluginv1.ChatEvent{Event: &pluginv1.ChatEvent_Usage{Usage: &commonv1.Usage{
		InputTokens: 1, OutputTokens: 2, CacheReadTokens: 3, CacheWriteTokens: 4,
	}}}); err != nil {
		return err
	}
	return c.stream.Send(&pluginv1.ChatEvent{Event: &pluginv1.ChatEvent_Done{Done: true}})
}

// pythonJSON writes an object the way Python's json module spaces it; the tests' are flat.
func pythonJSON(object map[string]any) string {
	entries := make([]string, 0, len(object))
	for name, value := range object {
		key, _ := json.Marshal(name)
		text, _ := json.Marshal(value)
		entries = append(entries, string(key)+": "+string(text))
	}
	slices.Sort(entries)
	return "{" + strings.Join(entries, ", ") + "}"
}
