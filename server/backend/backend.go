// Package backend is the neutral form of a call to a model and the contract
// that every driver keeps. Faces turn wire forms into it and drivers turn it
// into a vendor's wire: N + M converters, never N x M. It holds no driver
// code and knows no vendor's names.
package backend

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/weir-gateway/weir/accounting"
)

// A Role says who speaks a message.
type Role string

// The roles. Drivers whose vendor lacks one say it in the nearest way.
const (
	System    Role = "system"
	Developer Role = "developer"
	User      Role = "user"
	Assistant Role = "assistant"
	ToolRole  Role = "tool" // its messages hold Result parts alone
)

// A Channel is one kind of text.
type Channel string

// The channels.
const (
	Content   Channel = "content"
	Reasoning Channel = "reasoning"
	Refusal   Channel = "refusal"
	// Arguments are what an assistant gives a tool that it calls: JSON as the
	// model wrote it, which it need not be.
	Arguments Channel = "arguments"
	// Result is what a tool answered.
	Result Channel = "result"
	// Transcript is what the audio of an answer says; it comes before the audio.
	Transcript Channel = "transcript"
)

// A Part is one piece of a message.
type Part struct {
	// Channel is Content in what a caller says, and Result in what a tool says;
	// an assistant's earlier turn may also hold Reasoning, Refusal and
	// Arguments.
	Channel Channel
	Text    string

	// Of Arguments and Result: CallID ties the one to the other, and Tool is the
	// tool's name, of a result where the caller says it.
	CallID string
	Tool   string
	// Failed tells that a Result is the tool's failure.
	Failed bool

	// Media is what a part of Content or Result is where it is no text, in answers
	// too; Text is empty then. Parts of Result that follow each other with one CallID are one
	// result.
	Media *Media
	// Signature is what the backend that wrote the part wants back with it; nil
	// for none.
	Signature *Signature
	// Cache asks for the prompt up to and with this part to be kept; nil does not.
	Cache *CacheHint
	// Logprobs are those of the tokens of an answer's text.
	Logprobs []Logprob
}

// A Message is one turn of a conversation.
type Message struct {
	Role  Role
	Name  string
	Parts []Part
}

// Text joins the content of a message.
func (m Message) Text() string {
	if len(m.Parts) == 1 && m.Parts[0].Channel == Content {
		return m.Parts[0].Text
	}
	var all []byte
	for _, p := range m.Parts {
		if p.Channel == Content {
			all = append(all, p.Text...)
		}
	}
	return string(all)
}

// A Request asks a target for candidates. Nil and empty mean the model's own
// default. A driver must not change it.
type Request struct {
	// RequestID is the gateway's id of the call, for a backend's logs.
	RequestID string
	// TraceContext is what joins a backend's traces to the call's: headers, or
	// what stands for them on its wire. Nil where nobody traces.
	TraceContext map[string]string
	// Model is the name by which the target knows the model.
	Model    string
	Messages []Message

	Temperature      *float64
	TopP             *float64
	TopK             *int
	FrequencyPenalty *float64
	PresencePenalty  *float64
	MaxOutputTokens  *int
	Stop             []string
	Seed             *int64

	// Tools are what the model may call, and Choice which of them it must: nil
	// leaves it to the model.
	Tools  []Tool
	Choice *ToolChoice
	// ParallelCalls tells whether the model may call several tools in a turn.
	ParallelCalls *bool
	// Format is the form of the content; nil is plain text.
	Format *Format
	// Modalities are what the answer may be beside text; nil is text alone.
	Modalities []Modality
	// Voice is the one of audio, by the backend's own name; empty is its default.
	Voice string

	// Reasoning is how much the model reasons; nil is its default.
	Reasoning *ReasoningWish
	// Logprobs is how many alternatives the log probabilities of each token come
	// with; nil asks for none at all.
	Logprobs *int
	// CacheKey names what keeps prompts that begin alike together.
	CacheKey string
	// ServiceClass is the class of service that is asked for; empty leaves it to
	// the backend. Which one has served an event Served tells.
	// Where it is empty no trace of it is in what idempotency keys know a call by.
	ServiceClass accounting.ServiceClass `json:",omitempty"`
	// Vendor are parameters that one kind of backend alone knows.
	Vendor VendorOptions
	// DropUnsupported lets the gateway leave out parameters that the target does
	// not know.
	DropUnsupported bool

	// Candidates is how many answers are wanted, at least 1.
	Candidates int
}

// A Tool is a function of the caller that a model may call.
type Tool struct {
	Name        string
	Description string
	// Parameters is the JSON Schema of the arguments, nil for a tool that takes
	// none.
	Parameters json.RawMessage
	// Strict asks the backend to keep to the schema.
	Strict *bool
	// Cache asks for the tools up to and with this one to be kept; nil does not.
	Cache *CacheHint
}

// A ToolChoice says what a model must call.
type ToolChoice struct {
	Mode ToolMode
	Tool string // of ToolNamed
}

// A ToolMode is a kind of choice.
type ToolMode string

// The modes. Required is at least one call, of whichever tool.
const (
	ToolAuto     ToolMode = "auto"
	ToolNone     ToolMode = "none"
	ToolRequired ToolMode = "required"
	ToolNamed    ToolMode = "named"
)

// A Format asks for content that is JSON.
type Format struct {
	// Schema is the JSON Schema that the content keeps to; nil for any object.
	Schema json.RawMessage
	// Name and Description say what it is, for the model.
	Name        string
	Description string
	// Strict asks the backend to keep to the schema.
	Strict *bool
	// Repairs is how often a whole answer that does not keep to the schema is
	// asked for anew.
	Repairs int
}

// Definitions are the texts of a request beside its messages: tools, format and
// what one vendor alone knows.
// They are input as messages are.
func (r *Request) Definitions() []string {
	var all []string
	for _, t := range r.Tools {
		all = append(all, t.Name, t.Description, string(t.Parameters))
	}
	if f := r.Format; f != nil {
		all = append(all, f.Name, f.Description, string(f.Schema))
	}
	for _, vendor := range slices.Sorted(maps.Keys(r.Vendor)) {
		all = append(all, string(r.Vendor[vendor]))
	}
	return all
}

// A FinishReason says why a candidate ended.
type FinishReason string

// The finish reasons. Drivers report all but FinishSafety and FinishBudget,
// which are the gateway's own.
const (
	FinishStop          FinishReason = "stop"
	FinishLength        FinishReason = "length"
	FinishToolCalls     FinishReason = "tool_calls" // it waits for the tools that it called
	FinishBackendFilter FinishReason = "backend_filter"
	FinishRefusal       FinishReason = "refusal"
	FinishUnknown       FinishReason = "unknown" // the backend gave a reason that has no name here
	FinishSafety        FinishReason = "safety"  // an output rule ended it
	FinishBudget        FinishReason = "budget"  // a budget had no room for more
)

// A Kind says which fields of an Event count.
type Kind uint8

// The kinds of events.
const (
	// Started carries BackendModel. It comes at most once, first.
	Started Kind = iota + 1
	// Delta carries Candidate, Channel and Text, and of Arguments the Call.
	Delta
	// Called carries Candidate, Call, CallID and Tool. It comes before the
	// arguments of each call.
	Called
	// Finished carries Candidate and Finish; it comes once a candidate.
	Finished
	// Used carries Usage: all that the backend says was used so far. The last
	// one counts.
	Used
	// Signed carries Candidate, Channel, Call and Signature: it ends the part of
	// that channel, or call, that came last. Where the signature is hidden it is
	// a part of Reasoning of its own.
	Signed
	// Shown carries Candidate and Media: a part of the answer that is no text,
	// whole.
	Shown
	// Beside carries Extras. It comes once at the most, after every candidate has
	// finished.
	Beside
	// Served carries ServiceClass: the class of service that serves the call, as
	// soon as the backend says it. The last one counts.
	Served
)

// An Event is one thing that a backend said.
type Event struct {
	Kind      Kind
	Candidate int
	Channel   Channel
	Text      string // valid UTF-8, cut between runes
	// Call counts the calls of a candidate from 0. CallID is the backend's name
	// for it, which may be empty, and Tool what is called.
	Call         int
	CallID, Tool string
	// Logprobs are those of the tokens of Text, in its order, where they were
	// asked for.
	Logprobs     []Logprob
	Signature    *Signature
	Media        *Media // as Media.Check wants it
	Finish       FinishReason
	Usage        accounting.Usage
	Extras       VendorExtras
	ServiceClass accounting.ServiceClass
	BackendModel string // the model's name and version as the backend says it
}

// Capabilities is what a driver can do. What a target cannot do is refused
// before anything is spent.
type Capabilities struct {
	// Candidates is the most answers of one call: at least 1, or 0 where the model
	// gives embeddings alone.
	Candidates int
	// Embeds tells that the model gives embeddings; the Backend is an Embedder.
	Embeds bool
	// Seed, TopK and Penalties tell whether the target takes them.
	Seed      bool
	TopK      bool
	Penalties bool
	// Tools tells whether the target takes tools, JSON whether it can be held to
	// answer with a JSON object, and Schema to one of a schema.
	Tools, JSON, Schema bool
	// ToolChoices are the choices of tools that it can be held to; nil is all.
	ToolChoices []ToolMode
	// Reasoning tells whether the target can be told how much to reason, and
	// ReasoningBudget whether in tokens.
	Reasoning, ReasoningBudget bool
	// Logprobs is the most alternatives of a token whose log probabilities the
	// target gives; nil where it gives none at all.
	Logprobs *int
	// Media is what the target takes: for each modality the most input tokens
	// that one part of it can be, by which money is held. MediaURLs is what of it the
	// target fetches from addresses, and ResultMedia tells whether a tool may
	// answer so.
	Media       map[Modality]int64
	MediaURLs   []Modality
	ResultMedia bool
	// MediaOutput is what the target answers with where it is asked for: for each
	// modality the most output tokens that one part of it can be.
	MediaOutput map[Modality]int64
	// MaxOutputTokens is what one candidate can have at the most, where the
	// target has such a bound. The gateway asks for no more. 0 is unknown.
	MaxOutputTokens int
	// Classes are the classes of service that the target can be asked for, and
	// ServiceClass the one that it serves where none is; empty where its provider
	// decides.
	Classes      []accounting.ServiceClass
	ServiceClass accounting.ServiceClass
	// UsageAfterCancel tells that a cancelled stream still reports its usage
	// when it is read to its end.
	UsageAfterCancel bool
}

// A Backend is a server of models. It is safe for concurrent use.
type Backend interface {
	// Capabilities says what the backend can do with a model.
	Capabilities(model string) Capabilities
	// Generate starts a call and returns when the backend has accepted it. A
	// failure is an *Error or the context's. The context ends the call,
	// upstream as well, also after Generate has returned.
	Generate(ctx context.Context, req *Request) (Stream, error)
}

// A Stream is the answer of a backend. It is used by one goroutine.
type Stream interface {
	// Recv returns the next event, io.EOF after the last one of a whole
	// answer, an *Error where the backend failed, or the context's error. An
	// answer is whole when each candidate has finished; a stream that ends
	// before is an *Error of class Broken.
	Recv() (Event, error)
	// Close ends the call at the backend and frees what it holds. It may be
	// called more than once, and at any time between calls of Recv.
	Close() error
}

// A Waiter is a Stream that tells when all that its server has sent so far has been
// told. The interface is optional: ask for it by a type assertion.
type Waiter interface {
	// BeforeWait has Recv call f, from its own goroutine, before all that may wait
	// for the server. It is called between calls of Recv.
	BeforeWait(f func())
}

// A Lister is a Backend that can tell its models; a failure is an *Error or the
// context's. The interface is optional: ask for it by a type assertion.
type Lister interface {
	// Models returns the names by which the backend knows its models, sorted.
	Models(ctx context.Context) ([]string, error)
}

// A Counter is a Backend that knows its models' tokenizer; its counts are
// exact. The interface is optional: ask for it by a type assertion.
type Counter interface {
	// CountInput returns what the backend will report as input of a request,
	// the marks of its chat template included.
	CountInput(req *Request) int
	// CountOutput returns the tokens of the text of one channel of one
	// candidate, or of a text to embed. The whole text counts, not the sum of its pieces, and never for
	// more than its beginning and the bytes of the rest.
	CountOutput(model, text string) int
}
