package weir

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting/outputlog"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

// output is a record with its ratings as weir.v1 tells it.
func output(o outputlog.Output) *weirv1.Output {
	r := o.Record
	out := &weirv1.Output{
		Name: outputName(r.Subject.Tenant, r.RequestID), RequestId: r.RequestID, Project: r.Subject.Project, Key: r.Subject.Key,
		Model: r.Model, Backend: r.Backend, BackendModel: r.BackendModel,
		Labels: r.Subject.Labels, EndUser: r.Subject.EndUser, Session: r.Subject.Session,
		StartTime: timestamppb.New(r.Start), Timing: &weirv1.Timing{Total: durationpb.New(r.Total)},
		FinishReason: recordedFinish(r.Finish), ErrorReason: weirv1.ErrorReason(weirv1.ErrorReason_value["ERROR_REASON_"+r.Failure]),
		Usage: face.Usage(r.Usage, r.Source), Cost: face.Cost(r.Cost), Verdicts: face.Verdicts(r.Verdicts),
		Mode: outputModes[r.Mode], Probability: r.Probability, ExpireTime: timestamppb.New(r.Expires),
	}
	if r.FirstOutput > 0 {
		out.Timing.TimeToFirstOutput = durationpb.New(r.FirstOutput)
	}
	if r.Messages != nil || r.Candidates != nil {
		out.Content = content(r)
	}
	for _, rated := range o.Ratings {
		out.Ratings = append(out.Ratings, rating(rated))
	}
	return out
}

func content(r outputlog.Record) *weirv1.OutputContent {
	out := &weirv1.OutputContent{}
	for _, m := range r.Messages {
		out.Messages = append(out.Messages, &weirv1.Message{Role: roleOf(m.Role), Name: m.Name, Parts: recordedParts(m.Parts)})
	}
	for i, c := range r.Candidates {
		out.Candidates = append(out.Candidates, &weirv1.Candidate{
			Index: int32(i), FinishReason: recordedFinish(c.Finish),
			Message: &weirv1.Message{Role: weirv1.Role_ROLE_ASSISTANT, Parts: recordedParts(c.Parts)},
		})
	}
	return out
}

func roleOf(name string) weirv1.Role {
	for r, known := range roles {
		if string(known) == name {
			return r
		}
	}
	return weirv1.Role_ROLE_UNSPECIFIED
}

func recordedParts(parts []outputlog.Part) (all []*weirv1.Part) {
	for _, p := range parts {
		out := &weirv1.Part{}
		switch backend.Channel(p.Channel) {
		case backend.Reasoning:
			out.Data = &weirv1.Part_Reasoning{Reasoning: &weirv1.Reasoning{Text: p.Text}}
		case backend.Transcript:
			out.Data = &weirv1.Part_Transcript{Transcript: &weirv1.Transcript{Text: p.Text}}
		case backend.Refusal:
			out.Data = &weirv1.Part_Refusal{Refusal: &weirv1.Refusal{Text: p.Text}}
		case backend.Arguments:
			out.Data = &weirv1.Part_ToolCall{ToolCall: &weirv1.ToolCall{Id: p.CallID, Name: p.Tool, ArgumentsJson: p.Text}}
		case backend.Result:
			out.Data = &weirv1.Part_ToolResult{ToolResult: &weirv1.ToolResult{ToolCallId: p.CallID, Name: p.Tool, Text: p.Text, Failed: p.Failed}}
		default:
			out.Data = &weirv1.Part_Text{Text: p.Text}
		}
		if p.Modality != "" {
			media := recordedMedia(p)
			if result := out.GetToolResult(); result != nil {
				result.Media = []*weirv1.Media{media}
			} else {
				out.Data = &weirv1.Part_Media{Media: media}
			}
		}
		all = append(all, out)
	}
	return all
}

// recordedMedia is what is kept of media: what it was, and how much.
func recordedMedia(p outputlog.Part) *weirv1.Media {
	media := &weirv1.Media{MediaType: p.Type, SizeBytes: p.Bytes}
	for wire, m := range modalities {
		if string(m) == p.Modality {
			media.Modality = wire
		}
	}
	return media
}

// finishWords are the finish reasons as the output log has them.
var finishWords = map[weirv1.FinishReason]string{
	weirv1.FinishReason_FINISH_REASON_STOP:           string(backend.FinishStop),
	weirv1.FinishReason_FINISH_REASON_LENGTH:         string(backend.FinishLength),
	weirv1.FinishReason_FINISH_REASON_TOOL_CALLS:     string(backend.FinishToolCalls),
	weirv1.FinishReason_FINISH_REASON_SAFETY:         string(backend.FinishSafety),
	weirv1.FinishReason_FINISH_REASON_BACKEND_FILTER: string(backend.FinishBackendFilter),
	weirv1.FinishReason_FINISH_REASON_REFUSAL:        string(backend.FinishRefusal),
	weirv1.FinishReason_FINISH_REASON_STOP_SEQUENCE:  "stop_sequence", // nobody writes it yet
	weirv1.FinishReason_FINISH_REASON_BUDGET:         outputlog.FinishBudget,
	weirv1.FinishReason_FINISH_REASON_DEADLINE:       outputlog.FinishDeadline,
	weirv1.FinishReason_FINISH_REASON_CANCELLED:      outputlog.FinishCancelled,
	weirv1.FinishReason_FINISH_REASON_BACKEND_ERROR:  outputlog.FinishBackendError,
}

func recordedFinish(word string) weirv1.FinishReason {
	for reason, known := range finishWords {
		if known == word {
			return reason
		}
	}
	return weirv1.FinishReason_FINISH_REASON_UNSPECIFIED
}

var outputModes = map[string]weirv1.OutputMode{
	outputlog.ModeMetadata: weirv1.OutputMode_OUTPUT_MODE_METADATA,
	outputlog.ModeRedacted: weirv1.OutputMode_OUTPUT_MODE_REDACTED,
	outputlog.ModeFull:     weirv1.OutputMode_OUTPUT_MODE_FULL,
}

var thumbWords = map[weirv1.Thumb]outputlog.Thumb{
	weirv1.Thumb_THUMB_UP:   outputlog.Up,
	weirv1.Thumb_THUMB_DOWN: outputlog.Down,
}

func rating(r outputlog.Rating) *weirv1.Rating {
	out := &weirv1.Rating{
		Name:  outputName(r.Tenant, r.RequestID) + "/ratings/" + r.ID,
		Score: r.Score, Grade: r.Grade, Comment: r.Comment, CorrectedOutput: r.Corrected,
		Rater: r.Rater, Key: r.Key, CreateTime: timestamppb.New(r.Made),
	}
	if r.Project != "" {
		out.Key = r.Project + "/" + r.Key
	}
	for thumb, word := range thumbWords {
		if word == r.Thumb {
			out.Thumb = thumb
		}
	}
	return out
}

// outputPage is what a page token of outputs says: where to go on, in which
// list.
type outputPage struct {
	Start     int64  `json:"start"` // microseconds
	RequestID string `json:"request_id"`
	List      []byte `json:"list"`
}

// outputListID tells lists apart, since a token of one makes no sense in
// another.
func outputListID(req *weirv1.ListOutputsRequest) ([]byte, error) {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(&weirv1.ListOutputsRequest{Parent: req.GetParent(), Filter: req.GetFilter()})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return sum[:8], nil
}

func writeOutputPage(req *weirv1.ListOutputsRequest, at *outputlog.Cursor) (string, error) {
	id, err := outputListID(req)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(outputPage{at.Start.UnixMicro(), at.RequestID, id})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

func readOutputPage(req *weirv1.ListOutputsRequest) (*outputlog.Cursor, error) {
	if req.GetPageToken() == "" {
		return nil, nil
	}
	foreign := face.Invalid("page_token", "it is not of this list: send next_page_token of the page before, with parent and filter the same")
	text, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, foreign
	}
	var p outputPage
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, foreign
	}
	id, err := outputListID(req)
	if err != nil {
		return nil, err
	}
	if string(id) != string(p.List) {
		return nil, foreign
	}
	return &outputlog.Cursor{Start: time.UnixMicro(p.Start).UTC(), RequestID: p.RequestID}, nil
}
