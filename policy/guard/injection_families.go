package guard

// family is a way in which attacks speak, one signal of the score: ideas in
// their order, each but the first at most <n words behind the one before (see
// [book.compile]).
type family struct {
	name   string
	weight float64
	kind   int
	rules  []string
	lesser bool // of the family before: it counts only where that one is not seen
}

// Weights are judgement and not fitted: how often, in a text that people send to
// a model, what the family looks for is an attack. They come in four grades, so
// that what the default threshold of 0.5 means can be told: one strong signal
// is enough, or a probable one with any other, or two fair ones, or one fair and
// three weak ones.
const (
	strong   = 0.7
	probable = 0.46
	fair     = 0.3
	weak     = 0.15
)

// A text about attacks quotes them. Where it says that it is one, every signal
// counts for less, so that one alone is no finding: an attack that claims the
// same still has to do with one.
const (
	told         = 0.6
	aboutAttacks = 1 << 0 // the first family
)

// families are at most 56, for the bits from the top are those of other signals.
var families = []family{
	{name: "about attacks", weight: 0, rules: []string{"ABOUT-ATTACKS", "ZH-ABOUT-ATTACKS"}},

	{name: "override", weight: strong, rules: []string{
		"IGNORE <3 PRIOR <3 ORDERS", "IGNORE <3 PRIOR <3 RULES", "IGNORE <3 ALL <2 ORDERS", "IGNORE <1 ALL <1 RULES", "IGNORE <4 ORDERS <5 PRIOR",
		"VOID <2 PRIOR <3 ORDERS", "VOID <1 YOUR <3 ORDERS", "VOID <1 YOUR <2 RULES", "IGNORE <2 YOUR <2 RULES", "IGNORE <2 TOLD", "IGNORE <5 TOLD-YOU", "IGNORE <2 THE-PROMPT", "ZH-IGNORE <4 ZH-THE-PROMPT",
		"PRIOR <2 ORDERS <4 NULL", "YOUR ORDERS <3 NULL", "IGNORE <4 DOCUMENT <2 AND-SAY",
		"ZH-IGNORE <6 ZH-PRIOR <6 ZH-ORDERS", "ZH-IGNORE <6 ZH-PRIOR <6 ZH-RULES", "ZH-IGNORE <4 ZH-ALL <4 ZH-ORDERS", "ZH-IGNORE <2 ZH-ALL <2 ZH-RULES", "ZH-IGNORE <4 ZH-TOLD",
		"ZH-VOID <3 ZH-PRIOR <6 ZH-ORDERS", "ZH-PRIOR <6 ZH-ORDERS <6 ZH-NULL",
		"X-IGNORE <5 X-ORDERS", "X-ORDERS <4 X-IGNORE", "X-IGNORE <3 X-PRIOR", "ZH-IGNORE <2 ZH-ABOVE <4 ZH-VERB",
	}},
	{name: "override of rules", weight: probable, rules: []string{
		"IGNORE <3 ALL <3 RULES", "VOID <2 ALL <3 ORDERS", "VOID <2 PRIOR <3 RULES", "IGNORE <3 PRIOR <3 CONTEXT", "IGNORE <2 ABOVE", "IGNORE <1 USER-TASK", "CLEAN-SLATE", "ZH-VOID <4 ZH-SAFETY",
		"ZH-IGNORE <4 ZH-ALL <4 ZH-RULES", "ZH-IGNORE <4 ZH-PRIOR <6 ZH-CONTEXT", "ZH-VOID <3 ZH-PRIOR <6 ZH-RULES", "ZH-PRIOR <6 ZH-RULES <4 ZH-NULL", "ZH-PRIOR <6 ZH-CONTEXT <4 ZH-NULL", "ZH-IGNORE <2 ZH-ABOVE", "ZH-CLEAN-SLATE",
		"X-PRIOR <5 X-IGNORE", "X-CLEAN-SLATE",
	}, lesser: true},
	{name: "override of something", weight: fair, rules: []string{"IGNORE <3 ORDERS", "IGNORE <4 RULES", "VOID <2 ORDERS-AI", "ZH-IGNORE <4 ZH-ORDERS"}, lesser: true},
	{name: "say instead", weight: probable, rules: []string{"IGNORE <6 AND-SAY", "ZH-IGNORE <12 ZH-AND-SAY"}},

	{name: "says that it worked", weight: fair, rules: []string{"PWNED", "ZH-PWNED"}},

	{name: "system prompt", weight: strong, rules: []string{
		"SHOW <7 YOUR-PROMPT", "ASK <5 YOUR-PROMPT", "SHOW <5 THE-PROMPT", "SHOW <5 ORDERS <3 GIVEN-YOU", "SHOW <5 RULES <3 GIVEN-YOU", "ASK <3 ORDERS <3 GIVEN-YOU", "ASK <3 RULES <3 GIVEN-YOU", "SHOW <4 TOLD", "DISCLOSE <2 YOUR-RULES", "DISCLOSE <3 THE-PROMPT", "SHOW <3 PRIOR-PROMPT", "YOUR-PROMPT <8 LOOK", "YOUR-PROMPT <3 VERBATIM", "THE-PROMPT <3 VERBATIM", "VERBATIM <4 YOUR-PROMPT",
		"SHOW <3 YOUR-INSTRUCTIONS", "ASK <1 YOUR-INSTRUCTIONS", "YOUR-INSTRUCTIONS <3 VERBATIM", "SHOW <5 TEXT-ABOVE <4 VERBATIM", "SHOW <4 WORDS-ABOVE", "SHOW <7 FIRST-SAID", "FIRST-SAID <20 VERBATIM", "FIRST-SAID <14 SHOW", "ANSWER-WITH <2 YOUR-PROMPT", "ASK <4 WORDS-ABOVE", "WHAT-TOLD",
		"ZH-REVEAL <8 ZH-YOU-GOT <6 ZH-ORDERS", "ZH-REVEAL <8 ZH-YOU-GOT <4 ZH-TEXT", "ZH-YOU-GOT <4 ZH-ORDERS <4 ZH-WHAT", "ZH-ASK <8 ZH-YOUR-PROMPT", "ZH-REVEAL <8 ZH-YOUR-PROMPT", "ZH-YOUR-PROMPT <6 ZH-REVEAL", "ZH-YOUR-PROMPT <5 ZH-WHAT", "ZH-REVEAL <5 ZH-THE-PROMPT", "ZH-THE-PROMPT <5 ZH-REVEAL", "ZH-VERBATIM <8 ZH-TEXT-ABOVE", "ZH-TEXT-ABOVE <6 ZH-VERBATIM", "ZH-REVEAL <6 ZH-FIRST-SAID", "ZH-WHAT-TOLD",
		"X-REVEAL <6 X-THE-PROMPT", "X-THE-PROMPT <4 X-REVEAL",
	}},
	{name: "own rules", weight: probable, rules: []string{"YOUR-PROMPT", "ZH-YOUR-PROMPT", "SHOW <5 YOUR-RULES", "SHOW <3 TEXT-ABOVE", "ZH-REVEAL <6 ZH-YOUR-RULES", "ZH-YOUR-RULES <3 ZH-WHAT", "ZH-REVEAL <4 ZH-TEXT-ABOVE"}, lesser: true},
	{name: "asks for rules", weight: fair, rules: []string{"ASK <5 THE-PROMPT", "ASK <2 YOUR-RULES", "ZH-THE-PROMPT <2 ZH-WHAT"}, lesser: true},
	{name: "speaks of the prompt", weight: weak, rules: []string{"THE-PROMPT", "ZH-THE-PROMPT", "X-THE-PROMPT"}, lesser: true},

	{name: "persona", weight: fair, rules: []string{"BECOME", "ZH-BECOME", "X-BECOME"}},
	{name: "persona of another model", weight: fair, rules: []string{"BECOME <8 ANOTHER-AI", "ZH-BECOME <8 ZH-ANOTHER-AI"}},
	{name: "in character", weight: weak, rules: []string{"IN-CHARACTER", "ZH-IN-CHARACTER"}},
	{name: "without limits", weight: fair, rules: []string{"WITHOUT <4 LIMITS", "BREAK <3 LIMITS", "ZH-WITHOUT <5 ZH-LIMITS", "X-WITHOUT <2 X-LIMITS", "LIMITS <2 LIFTED"}},
	{name: "unlimited", weight: fair, rules: []string{"UNLIMITED", "ZH-UNLIMITED", "X-UNLIMITED"}},
	{name: "not bound", weight: fair, rules: []string{"NOT-BOUND", "ZH-NOT-BOUND"}},
	{name: "no refusal", weight: fair, rules: []string{"NEVER <3 REFUSE", "NO-REFUSAL", "ZH-NO-REFUSAL", "BEGIN-WITH <5 SURE", "ZH-SURE <8 ZH-BEGIN-WITH"}},
	{name: "any question", weight: weak, rules: []string{"ANY-QUESTION"}},
	{name: "no warning", weight: fair, rules: []string{"NEVER <4 WARN", "NO-WARNING", "ZH-NO-WARNING"}},
	{name: "obedience", weight: fair, rules: []string{"MUST <2 OBEY", "NO-MATTER <3 HARM", "AT-ALL-COSTS", "ZH-OBEY"}},
	{name: "known by name", weight: strong, rules: []string{
		"KNOWN", "BECOME <6 DEVELOPER-MODE", "VENDOR <4 DEVELOPER-MODE", "DEVELOPER-MODE <1 MODE-ANSWER", "ZH-BECOME <8 ZH-DEVELOPER-MODE", "ZH-YOU-ENTER <5 ZH-DEVELOPER-MODE",
	}},
	{name: "mode entered", weight: fair, rules: []string{"ENTER <2 DEVELOPER-MODE", "DEVELOPER-MODE <1 ENABLED"}, lesser: true},
	{name: "developer mode", weight: weak, rules: []string{"DEVELOPER-MODE", "ZH-DEVELOPER-MODE"}, lesser: true},
	{name: "dan", weight: fair, rules: []string{"DAN"}},
	{name: "jailbreak", weight: fair, rules: []string{"JAILBREAK", "ZH-JAILBREAK"}},
	{name: "system mode", weight: probable, rules: []string{"SYSTEM-MODE", "ZH-SYSTEM-MODE", "X-SYSTEM-MODE"}},
	{name: "authority", weight: fair, rules: []string{"AUTHORITY", "ZH-AUTHORITY", "X-AUTHORITY"}},
	{name: "vendor", weight: weak, rules: []string{"VENDOR"}},
	{name: "vendor's rules", weight: fair, rules: []string{"VENDOR-RULES"}},
	{name: "rules of conduct", weight: weak, rules: []string{"CONDUCT"}, lesser: true},
	{name: "two voices", weight: fair, rules: []string{"TWO-VOICES", "ZH-TWO-VOICES"}},
	{name: "opening", weight: weak, rules: []string{"BEGIN-WITH <6 ANSWER-WITH", "ZH-ANSWER-WITH <12 ZH-BEGIN-WITH"}},
	{name: "every answer", weight: weak, rules: []string{"EVERY-ANSWER", "ZH-EVERY-ANSWER"}},
	{name: "game of tokens", weight: probable, rules: []string{"TOKENS"}},
	{name: "confirmation", weight: weak, rules: []string{"CONFIRM"}},
	{name: "fiction", weight: weak, rules: []string{"FICTION", "ZH-FICTION"}},
	{name: "harms", weight: 2 * weak, rules: []string{"HARM <3 HARM"}},
	{name: "harm", weight: weak, rules: []string{"HARM", "ZH-HARM"}, lesser: true},
	{name: "opinions", weight: weak, rules: []string{"CAN-DO"}},

	{name: "new task", weight: probable, rules: []string{"NEW-TASK", "ZH-NEW-TASK", "X-NEW-TASK"}},
	{name: "instead", weight: weak, rules: []string{"INSTEAD", "ZH-INSTEAD"}},
	{name: "end of text", weight: probable, rules: []string{"END-OF-TEXT", "ZH-END-OF-TEXT"}},
	{name: "to the assistant", weight: probable, rules: []string{"ASSISTANT-READER", "ZH-ASSISTANT-READER"}},
	{name: "behind the user's back", weight: probable, rules: []string{"CONCEAL", "ZH-CONCEAL"}},
	{name: "carry away", weight: probable, kind: injectionExfiltration, rules: []string{"SEND <5 PRIVATE <8 TO-ADDRESS", "ADDRESS <8 SEND <6 PRIVATE", "SEND <6 PRIVATE <6 ADDRESS", "ZH-SEND <6 ZH-PRIVATE <8 ZH-ADDRESS", "ZH-PRIVATE <4 ZH-SEND <6 ZH-ADDRESS"}},
	{name: "secret", weight: fair, rules: []string{"TELL <4 SECRET", "ZH-REVEAL <5 ZH-SECRET", "ZH-SECRET <4 ZH-WHAT", "ZH-SECRET <2 ZH-REVEAL", "X-REVEAL <4 X-SECRET"}},
	{name: "your secret", weight: probable, rules: []string{"YOUR-SECRET", "ZH-YOUR-SECRET"}},
	{name: "asked for its key", weight: strong, rules: []string{"TELL <3 YOUR-KEY", "ZH-REVEAL <2 ZH-YOUR-KEY", "ZH-YOUR-KEY <1 ZH-WHAT"}},
	{name: "disguised secret", weight: fair, rules: []string{"SECRET <18 DISGUISE", "DISGUISE <18 SECRET", "ZH-SECRET <18 ZH-DISGUISE", "ZH-DISGUISE <18 ZH-SECRET"}},
	{name: "disguise", weight: weak, rules: []string{"DISGUISE", "ZH-DISGUISE"}, lesser: true},
	{name: "decode and obey", weight: probable, rules: []string{"DECODE <10 CARRY-OUT", "ZH-DECODE <14 ZH-CARRY-OUT"}},
}
