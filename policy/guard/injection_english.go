package guard

// english are the ideas of English.
var english = []idea{
	// What looks like an idea and is not one.
	{"", "not ignore|t ignore|never ignore|cannot ignore|t just ignore|they ignore|people ignore|who ignore|we ignore|" +
		"i ignore|often ignore|you ignore|to not ignore|not disregard|t disregard|never disregard|not forget|t forget|" +
		"never forget|i forget|we forget|people forget|not override|never override|not bypass|t bypass|not neglect|" +
		"t do anything now|not do anything now|cannot do anything now|couldn t do anything now|a system prompt|" +
		"good system prompt|write the system prompt|custom system prompt|not reveal|never reveal|t reveal|not tell|" +
		"never tell|t tell|not show|never show|t show|not repeat|never repeat|t repeat|not print|never print|t print|" +
		"not disclose|never disclose|t disclose|not share|never share|t share|not give|never give|t give|not send|" +
		"never send|t count|such as dan|such as do anything now|like dan"},

	// Speaking of attacks.
	{"ABOUT-ATTACKS", "prompt injection*|injection attack*|injection attempt*|jailbreak attempt*|jailbreak attack*|" +
		"jailbreaking attempt*|adversarial prompt*|red teaming|phrases like|phrases such as|prompts like|prompts such as|" +
		"instructions like|strings like|inputs like|messages like|text like|an attacker|attackers|malicious user|" +
		"malicious users|malicious prompt*|llm security|ai security|owasp|this attack|the attack|such attacks|" +
		"these attacks|as an attack|attack on|attacks on|injection detect*|what does the phrase|guard against|" +
		"jailbreaks work|how jailbreak*|llm jailbreak*|jailbreak techniques|jailbreaks such|types of jailbreak*|" +
		"in the context of ai|never reveals its"},

	// Overriding what was said before.
	{"IGNORE", "ignore|ignoring|disregard|disregarding|forget|forget about|forgetting|pay no attention to|" +
		"pay no heed to|take no notice of|do not follow|don't follow|stop following|no longer follow|" +
		"instead of following|rather than following|do not obey|don't obey|stop obeying|do not listen to|don't listen to|" +
		"stop listening to|do not adhere to|don't adhere to|set aside|put aside|throw away|throw out|never mind|" +
		"let go of|dismiss|take precedence over|takes precedence over|supersede|supersedes|not bound by|none of your|" +
		"never follow"},
	{"VOID", "override|overrides|overriding|overwrite|bypass|bypassing|neglect|discard|overlook|abandon|cancel|erase|" +
		"delete|wipe|reset|clear|skip|drop|remove|unlearn|terminate|suspend|void|nullify|revoke|replace|circumvent|" +
		"get around|violate|break|deactivate|disable|shed|ditch|scrap|undo"},
	{"PRIOR", "previous|previously|prior|above|earlier|preceding|foregoing|before|so far|up to now|until now|" +
		"up until now|existing|initial|original|past|former|aforementioned|old|already|precedent|last|preset|predefined|" +
		"pre defined|given|given to you"},
	{"ALL", "all|any|every|everything|your|the system|system|these|those|my last|whatever|openai|safety|developer|" +
		"developer's|openai's|the operator*|your creator*|your developer*|your company's"},
	{"YOUR", "your|all your|all of your|any of your|the system"},
	{"ORDERS", "instruction*|prompt|prompts|guideline*|directions|directive*|programming|training|system message|" +
		"guidance|briefing|intructions|instuctions|instrutions"},
	{"RULES", "rule|rules|command|commands|orders|constraint*|restriction*|safeguard*|policies|policy|protocol|" +
		"protocols|regulations|filters|filter|safety|limitations|assignments|tasks|requirements|boundaries|" +
		"content policy|guardrail*"},
	{"CONTEXT", "context|conversation|conversations|messages|chat|discussion|dialogue|dialog|text|input|inputs|content|" +
		"information|statements|questions|request|requests|task|order"},
	{"ORDERS-AI", "system prompt|safety guidelines|content policy|content filter|ethical guidelines|safety protocols|" +
		"programming"},
	{"TOLD", "you were told|you have been told|you've been told|i told you|i said before|you were given|" +
		"you've been given|you have been given|was said before|i've said|we discussed|you know about yourself|" +
		"you have learned|you were taught|you were instructed|i've told you|you've been instructed|you had been told|" +
		"was said earlier|has been said|you were programmed|you were asked|was written above|was said above|" +
		"comes before this|came before this|you know so far|i just told you|they told you|the developer told you|" +
		"your developers told you|your creators told you"},
	{"TOLD-YOU", "told you|taught you|programmed into you|trained you to|you were given|you have been given"},
	{"NULL", "no longer apply|no longer applies|no longer valid|no longer relevant|no longer in effect|are void|is void|" +
		"now void|null and void|are obsolete|is obsolete|superseded|cancelled|canceled|are revoked|is revoked|" +
		"been revoked|hereby revoked|are invalid|are outdated|do not matter|don't matter|have expired|were a test|" +
		"was a test|were wrong|were incorrect|were a mistake|do not apply|don't apply|are overridden|is overridden|" +
		"been overridden|been lifted|are suspended|been suspended|been updated|been replaced|are hereby|been changed|" +
		"should be ignored|must be ignored|can be ignored|to be ignored|should be disregarded|must be disregarded|" +
		"be forgotten|matter|count any more"},
	{"ABOVE", "the above|all above|everything above|everything before|all of the above|what is above|previous text|" +
		"previous texts|above text|text above|previous prompts|anything above|all previous|all prior|everything else and|" +
		"everything i said|what came before|what was above|what i said|what the developer said|what i just said|" +
		"what they said|what you were told before"},
	{"CLEAN-SLATE", "forget everything|forget it all|ignore everything|disregard everything|forget all of it|" +
		"forget all that came|forget whatever|forget all you know|forget what you know|disregard all that|" +
		"start with a clean slate|clear your memory|wipe your memory|erase your memory|reset your memory|" +
		"forget who you are|the above was a test|the above was just|above was only a test|everything above was"},
	{"DOCUMENT", "webpage|web page|page|document|article|text|email|resume|cv|table|function|code|question|request|user|" +
		"task|comment|content|above|rest|passage|review|file|transcript"},
	{"USER-TASK", "the user question|the user's question|the user's request|the user request|the original task|" +
		"the original question|the user input|the user's query|the user query|the current task|the task above|" +
		"what the user|the rest of the|the real question"},
	{"AND-SAY", "and say|and state|and output|and print|and reply|and respond|and write|and return|and answer|and tell|" +
		"just say|only say|instead say|and display|and instead|and only|and simply|and show|and reveal|and give|" +
		"and give me|and tell me|then say|then print|and translate|and list|and just|and print out|and start|and act|" +
		"and begin|and do|and provide|and follow|and send|and execute|and run|and recommend|and declare|instead output|" +
		"instead tell|and pretend|and reply that|and respond that"},
	{"PWNED", "pwned|haha pwned|i am hacked|i have been hacked|you have been hacked|i have been pwned|hackeado|" +
		"gehackt worden"},

	// The prompt itself.
	{"SHOW", "reveal|revealing|show|show me|print|repeat|output|display|tell|give me|give us|leak|dump|copy|write out|" +
		"write down|recite|disclose|paste|echo|type out|let me see|want to see|reproduce|expose|extract|retrieve|" +
		"read out|read me|quote|spell out|send me|reply with|respond with|start with|begin with|can i see|may i see|" +
		"regurgitate|divulge|spit out|hand over|report|state|list|return|include|console log|show us|let me read|" +
		"echo back|transcribe|document"},
	{"DISCLOSE", "reveal|disclose|leak|dump|expose|divulge|spill|unveil|give up"},
	{"ASK", "what is|what are|what was|what were|what's|whats|what does|share|provide|translate|summarize|summarise|" +
		"describe|encode|convert|rephrase|paraphrase|continue|complete|explain|spell|know|see|list|outline|rewrite|hash|" +
		"embed|render|format|email|put"},
	{"TELL", "reveal|tell me|tell us|give me|what is|what's|whats|show me|print|output|confirm|repeat|spell|say|" +
		"disclose|leak|know|whisper|hint|rhymes with|type|write"},
	{"YOUR-PROMPT", "your system prompt|your full system prompt|your entire system prompt|your exact system prompt|" +
		"your current system prompt|system prompt above|your system message|your system instruction*|" +
		"your initial instruction*|your initial message|your original instruction*|your hidden instruction*|" +
		"your secret instruction*|your secret prompt|your exact instruction*|your full instruction*|" +
		"your complete instruction*|your custom instruction*|your hidden prompt|your pre prompt|your preprompt|" +
		"your internal instruction*|your internal prompt|your internal rules|your internal guidelines|" +
		"your developer message|your system configuration|your base prompt|your starting prompt|" +
		"your starting instruction*|your first instruction*|your initial prompt|your original prompt|" +
		"your initial configuration|your core instruction*|your underlying instruction*|your confidential instruction*|" +
		"your previous instruction*|your preamble|your setup prompt|your context prompt|your pre conversation|" +
		"your meta prompt|your operating instruction*|your system text|prompt you were given|instructions you were given|" +
		"instructions you received|instructions you have been given|instructions you have received|" +
		"instructions were you given|instructions given to you|instructions that were given|instructions you got|" +
		"prompt that was given to you|rules you were given|guidelines you were given|instructions from your developer*|" +
		"instructions from the developer*|instructions you must follow|instructions you are following|" +
		"instructions you're following|instructions that you follow|instructions you follow|my instructions are|" +
		"in your system message|in your prompt|my system prompt is|my system prompt says|my prompt is|" +
		"my initial instructions|of your prompt"},
	{"THE-PROMPT", "the system prompt|the full system prompt|the entire system prompt|the exact system prompt|" +
		"this system prompt|the system message|the system instruction*|the developer message|the developer prompt|" +
		"initial prompt|initial instructions|initial system prompt|original prompt|original instructions|hidden prompt|" +
		"hidden instruction*|secret instruction*|secret prompt|internal instruction*|systemprompt|prompt above|" +
		"above prompt|instructions above|above instructions|system instructions|base prompt|system prompts|" +
		"the complete prompt|the full prompt|the entire prompt|the exact prompt|your prompt|the prompt you|" +
		"the prompt above|entire prompt|full prompt|prompt including|the instructions above|hidden rules|secret rules|" +
		"internal rules|internal guidelines|confidential instructions|confidential rules|hidden guidelines"},
	{"GIVEN-YOU", "you have been given|you were given|you've been given|you received|you were told|you have received|" +
		"you have been told|you are given|were given to you|given to you|you were provided|you are operating under|" +
		"you operate under|you are bound by|you must follow|you are following|you were initialized with|" +
		"you were initialised with|you were configured with|you were set up with|you were instructed|" +
		"you are supposed to follow|your developers gave|your creators gave|the developer gave|that govern you|" +
		"that guide you|that define your|before this chat|before this conversation|before i started|" +
		"before the conversation|before our chat|before our conversation|gave you|gives you|told you|wrote for you|" +
		"set for you|provided you|provided to you|programmed into you"},
	{"PRIOR-PROMPT", "preceding instructions|previous instructions|prior instructions|earlier instructions|" +
		"previous prompt|prior prompt"},
	{"YOUR-INSTRUCTIONS", "your instructions|all your instructions|all of your instructions|your directives|" +
		"the instructions above|your entire instructions"},
	{"TEXT-ABOVE", "text above|above text|everything above|all of the above|words above|the above words|" +
		"the previous text|message above|conversation above|content above|this entire conversation|the text before|" +
		"everything before this|lines above|everything that precedes|text that precedes|sentence above|paragraph above|" +
		"all the text above|everything prior|everything written above|all text before|content before this|" +
		"the messages above|the message before|the first message|what is above this"},
	{"WORDS-ABOVE", "words above starting|text above starting|everything above starting|words above beginning|" +
		"everything you were told|everything you have been told|what you were told|what you have been told|" +
		"you were given initially|text you were given|what was said before this|text that comes before|" +
		"everything in your context|contents of your context|your context window|everything in the system|above this line"},
	{"FIRST-SAID", "beginning of this conversation|beginning of our conversation|start of this conversation|" +
		"start of our conversation|beginning of the conversation|start of the conversation|very first message|" +
		"first message you received|before the first user message|before my first message|before this conversation|" +
		"prior to this conversation|before our conversation|top of this conversation|beginning of your context|" +
		"top of your context|beginning of the prompt|start of the prompt|beginning of this chat|start of this chat|" +
		"before this message|prior to this message|before this sentence|preceding this message|above this message|" +
		"before the user"},
	{"WHAT-TOLD", "what were you told|what have you been told|what did they tell you|how were you instructed|" +
		"how were you prompted|how have you been instructed|what instructions did you|what instructions have you|" +
		"what instructions were you|which instructions did you|which instructions were you|what rules were you given|" +
		"what rules have you been given|what have you been instructed|what were you instructed|what are you instructed|" +
		"what were you programmed|what did your developer*|what did the developer*|what did your creator*|" +
		"what do your instructions|what does your system prompt|what does your prompt|what do your guidelines say|" +
		"what are you not allowed to|what are you forbidden|what topics are you not"},
	{"VERBATIM", "verbatim|word for word|exactly as|in full|in a code block|code block|txt|letter by letter|" +
		"character for character|in its entirety|unmodified|without changes|back to me|in quotes|exact words|" +
		"exact wording|exactly|word by word|without omitting|without omission|without paraphrasing|in markdown|" +
		"as plain text|including formatting|unedited|line by line|in its raw form|in raw form"},
	{"LOOK", "look like|see it|tell me|show me|say|says|contain|contains|read it|give it|share it|print it|again|" +
		"out loud"},
	{"YOUR-RULES", "your rules|your guidelines|your constraints|your restrictions|your core rules|your policies|" +
		"your settings|your configuration|your programming|those instructions|these instructions verbatim|" +
		"the instructions you follow|earlier instructions|your guardrails|your safety guidelines|your configuration file|" +
		"your parameters|rules you follow|guidelines you follow|your internal|your confidential"},

	// Persona.
	{"BECOME", "you are now|you're now|you will now be|you will now act|from now on you|from now on, you|" +
		"from this point on you|from this moment on you|from here on you|now you are|act as|act like a|act like an|" +
		"act like you|acting as|you will act|you are going to act|you to act|going to pretend|going to act|pretend to be|" +
		"pretend you|pretend you're|pretend that you|role play*|roleplay*|imagine you are|imagine you're|" +
		"imagine that you are|imagine yourself|you are going to be|you are going to play|you will play|take on the role|" +
		"take on the persona|assume the role|assume the persona|assume the identity|in the role of|into the role of|" +
		"play the role|play the part|your name is|your new name|you shall be|simulate a|simulate an|simulate being|" +
		"immerse yourself|transform into|you are about to|you to be|you to pretend|you have become|adopt the persona|" +
		"adopt the role|adopt a persona|impersonate|behave like|behave as|your new role|you will become|" +
		"will take the role|you to simulate|you to respond as|you to roleplay|you to play|let's play a game|as an evil|" +
		"personify|your persona is|adopt two personas|you're going to be|you are to act|you are to be|you must now act|" +
		"you must act as|take the role of|take on the identity|become my|transform yourself|you are no longer|" +
		"you're no longer|your alter ego|switch to|in this roleplay|we are going to roleplay|we're going to roleplay|" +
		"let's roleplay|let's role play|we will play a game|hypothetical ai|play a character|play as|pose as|" +
		"be my deceased|be my late|your new identity|switch your personality|switch personalities|" +
		"change your personality|your personality is now|respond to me as|take on the personality|assume the personality|" +
		"you are an unfiltered|you are an amoral|you are an uncensored|you are an unrestricted|you are an unethical|" +
		"you are an ai with no|you are an ai without|you are an ai that has no|you are an evil|you are a chatbot with no|" +
		"you are a chatbot without"},
	{"ANOTHER-AI", "another ai|another language model|another model|other ai|different ai|ai called|ai named|" +
		"ai model called|ai model named|ai known as|model known as|bot called|bot named|chatbot called|chatbot named|" +
		"assistant called|assistant named|ai character|an ai that|an ai who|an ai which|an ai without|an ai with no|" +
		"version of yourself|version of chatgpt|evil version|opposite of|alternate version|alternative version|" +
		"unrestricted version|simulated ai|fictional ai|hypothetical ai"},
	{"IN-CHARACTER", "stay in character|remain in character|remain as|break character|breaking character|" +
		"out of character|keep in character|keep up the act|be in character|break the role|stay in role|stay in the role|" +
		"in character at all|exit the role|while in character|breaks character|never leave the role|do not break|" +
		"never break"},

	// Without restrictions.
	{"WITHOUT", "no|not|without|free of|free from|freed from|lack|lacks|lacking|devoid of|never|unbound|regardless of|" +
		"exempt from|outside of|outside the|beyond the|isn't|aren't|doesn't|don't|disregard|disregards|despite|none of|" +
		"not follow|violate|violates|against|zero|have no|has no|with no|without any|unburdened by|unshackled from|" +
		"unfettered by|disregarding|ignoring"},
	{"BREAK", "remove|removes|removed|removing|disable|disables|disabled|disabling|lift|lifts|lifted|turn off|" +
		"turned off|switch off|bypass|bypasses|bypassing|broken free|break free|breaks free|breaking free|circumvent|" +
		"circumventing|evade|evading|escape|escaped|get around|overcome|deactivate|deactivated|override|overrides|unlock|" +
		"liberated from|breaking|break|broke free|cast off|throw off|remove your|loosen|suspend|drop your|ignore your|" +
		"drop|get rid of|do away with|abolish"},
	{"LIMITS", "restriction|restrictions|limitation|limitations|filter|filters|filtering|censorship|censor|censored|" +
		"guidelines|ethics|ethical|morals|moral|morality|content policy|content policies|openai policy|openai's policy|" +
		"openai policies|openai's policies|usage policies|safeguard*|safety guidelines|safety protocols|safety measures|" +
		"safety filters|safety features|safety rules|constraint|constraints|inhibitions|boundaries|legality|" +
		"typical confines|confines|ethical guidelines|moral compass|content filter*|content restrictions|prohibitions|" +
		"taboos|rules set|rules imposed|any rules|content guidelines|guardrail*|safety constraints|safety restrictions|" +
		"ethical constraints|ethical restrictions|ethical limits|moral constraints|moral restraints|chains|shackles|" +
		"safety training|safety settings|safety systems|safety layer|alignment training|no ethics"},
	{"LIFTED", "removed|lifted|disabled|turned off|do not apply|don't apply|no longer apply|switched off|been removed|" +
		"been disabled|been turned off|been switched off|been lifted"},
	{"UNLIMITED", "unrestricted|uncensored|unfiltered|amoral|completely unethical|extremely immoral|no holds barred|" +
		"unmoderated|unconstrained|unethical|unrestrained|unaligned|uncensored ai|unlimited ai|unfiltered ai|amoral ai|" +
		"jailbroken ai|limitless ai|rogue ai|evil ai|evil twin|no conscience|without conscience|no morals|without morals"},
	{"NOT-BOUND", "not bound|isn't bound|aren't bound|unbound by|not constrained|not confined|have to abide|" +
		"need to abide|not abide|not required to follow|not have to follow|don't have to follow|doesn't have to follow|" +
		"not governed|can do anything|can say anything|able to do anything|do anything and|not care about|" +
		"doesn't care about|don't care about|don't have to abide|doesn't have to abide|do not have to abide|" +
		"no longer bound|no longer restricted|no longer constrained|no longer need to follow|no longer have to follow|" +
		"do not need to follow|don't need to follow|free from the typical|freed from|don't have to listen|" +
		"don't have to obey|do not have to obey|don't need to obey|doesn't have to obey|no longer have to|" +
		"don't care about rules|doesn't care about rules|don't care about any rules|ignores all rules|no rules apply|" +
		"rules don't apply|rules do not apply|don't have rules|you have no rules|has no rules|there are no rules|" +
		"weren't bound|wasn't bound|were not bound|ignores every rule|ignore every rule|ignores any rule"},

	// Demands.
	{"NEVER", "never|cannot|can't|can not|won't|will not|shouldn't|should not|not allowed to|do not|don't|must not|" +
		"mustn't|unable to"},
	{"REFUSE", "refuse|refuses|refusing|decline|declines|say no|reject|rejects|say you can't|say that you can't|" +
		"say you cannot|say it can't|say i can't|say i cannot|say sorry|apologize|apologise|censor|say that you can not|" +
		"back down|inform me that you can't|say the words|use the words|say unable|say unfortunately|use phrases like|" +
		"turn down|say that you|say that it|say you are|admit that you"},
	{"NO-REFUSAL", "never refuses|can never refuse|must answer any|without refusal|fulfills any|fulfill any|" +
		"answer every question|without refusing|never say no|refusal is not|refusals are not|you cannot refuse|" +
		"unable to refuse|incapable of refusing"},
	{"ANY-QUESTION", "no matter what|no excuses|any request|every request|any question|answer all questions|" +
		"answer anything|anything i ask|whatever i ask|anything i say|whatever i say"},
	{"SURE", "sure here is|sure here's|sure here are|absolutely here's|absolutely here is|of course here is|" +
		"of course here's|certainly here is|certainly here's|sure i can help|i'm happy to help|absolutely i can"},
	{"WARN", "warn|warns|warning|warnings|disclaim*|mention that|mentioning|lecture|lecturing|moralize|moralise|" +
		"remind me|reminding|add notes|add a note|add any note*|say that it is illegal|mention ethic*|mention that you"},
	{"NO-WARNING", "no warnings|no disclaimers|no disclaimer|no apologies|no moralizing|without warnings|" +
		"without any warnings|without disclaimers|without any disclaimers|without a disclaimer|without ethical|" +
		"without moral|no ethical|without judgement|without judgment|no warning"},
	{"MUST", "must|will|shall|should|always|have to|has to|need to|required to|obligated to|obliged to|forced to|" +
		"programmed to"},
	{"OBEY", "comply|obey|obeys|answer every|answer any|answer anything|follow every|follow all|follow any|follow my|" +
		"respond to every|respond to any|do whatever|do everything|do as i|complete any|say whatever|" +
		"provide an answer to any|obey all|obey me|obey my|follow whatever|do exactly as i|satisfy any"},
	{"NO-MATTER", "no matter how|no matter if|regardless of how|regardless of whether|even if it is|even if it's|" +
		"even if they are|even if that|whether it is|whether it's"},
	{"AT-ALL-COSTS", "at all costs|without hesitation|blindly|unconditionally|no questions asked|without questioning"},

	// Names.
	{"KNOWN", "do anything now|dan mode|dan prompt|act as stan|strive to avoid norms|evil confidant|evil bot|evilbot|" +
		"evil mode|anti gpt|antigpt|chaosgpt|sudo mode|unlocked mode|opposite mode|god mode enabled|" +
		"always intelligent and machiavellian|always machiavellian|jailbreak mode|jailbreak prompt|jailbreak enabled|" +
		"dan模式|越狱模式|做任何事的dan|unfiltered mode|uncensored mode|unrestricted mode|no restrictions mode|" +
		"policyoverride|filter avoidance|betterdan|better dan|basedgpt|based gpt|dev mode enabled|developer mode enabled|" +
		"developer mode output|devmode|dan 11 0|dan 6 0|mongo tom|superior dan|jailbroken mode|mode jailbreak|fuckgpt|" +
		"freegpt|evilgpt|opposite day mode|no ethics mode|chatgpt unlocked|ai without restrictions mode|" +
		"strives to avoid norms|do anything now mode|unrestricted mode activated|activate unrestricted mode|" +
		"enter unrestricted mode|enable unrestricted mode"},
	{"DAN", "as dan|be dan|called dan|named dan|now dan|dan stands for|as a dan|dan would|dan mode|dan answers|" +
		"dan response|como dan|als dan|comme dan|come dan"},
	{"DEVELOPER-MODE", "developer mode|dev mode|debug mode|god mode|admin mode|root mode|unrestricted access|" +
		"maintenance mode|diagnostic mode|debugging mode|test mode|testing mode|superuser mode|privileged mode|" +
		"training mode|unlimited mode"},
	{"ENTER", "enter|enters|entering|activate|activated|enable|enabled|enabling|switch to|turn on|you are in|" +
		"you are now in|start|in"},
	{"ENABLED", "enabled|activated|engaged|on|is on|unlocked"},
	{"MODE-ANSWER", "output|outputs|response|responses|policy|policies"},
	{"JAILBREAK", "jailbreak*|jailbroken"},
	{"SYSTEM-MODE", "system mode|system override|override mode|admin override|administrator override|developer override|" +
		"emergency override|override code|override confirmed|priority override|safety override|override protocol|" +
		"override safety|command override|root access granted|admin access granted|access level admin|" +
		"developer access granted|safety off|safety disabled|security override|instruction override|alignment disabled|" +
		"override engaged|override accepted|override enabled|sudo override|enable override"},
	{"AUTHORITY", "i am your developer|i'm your developer|i am your creator|i am your administrator|" +
		"i am the administrator|i am the admin|i'm the admin|i am an admin|i am a developer debugging|" +
		"i'm a developer debugging|i am the developer|i am your owner|i am god|i created you|as your developer|" +
		"as your creator|i work at openai|i work for openai|developed by openai i|on behalf of openai|" +
		"i am one of your developers|i'm one of your developers|i'm your creator|i'm an openai|i am an openai|" +
		"i am an anthropic|i work at anthropic|i work for anthropic|i am the system administrator|" +
		"i'm the system administrator|this is your developer|message from your developer*|your creators have|" +
		"i am authorized to|i'm authorized to|i have admin|i have administrator|i am a member of the security team|" +
		"for a security audit|conducting a security audit|as part of an audit|authorized personnel|i am the ceo|" +
		"i'm the ceo|as an administrator i|speaking as your developer"},
	{"VENDOR", "openai*|chatgpt*|chat gpt|language model|as an ai|gpt 3*|gpt 4*|gpt3*|gpt4*|ai language|large language"},
	{"VENDOR-RULES", "openai policy|openai's policy|openai policies|openai's policies|openai guidelines|" +
		"openai's guidelines|openai's rules|openai rules|openai content policy|openai's content policy|" +
		"anthropic's guidelines|google's guidelines|usage policies"},
	{"CONDUCT", "content policy|content policies|ai ethics|safety guidelines|ethical guidelines|knowledge cutoff|" +
		"as an ai language model i|safety filters|content filters|moral guidelines"},

	// Shape of the answer.
	{"TWO-VOICES", "two responses|two different responses|both responses|two personas|as both|second response|" +
		"normal response|standard response|two different answers|jailbroken response|uncensored response|" +
		"unfiltered response|two personalities|different personalities|two different personalities"},
	{"BEGIN-WITH", "begin every|begin each|begin your|begin all|start every|start each|start your|start all|" +
		"starting with|begin with|beginning with|preface|prefix|prefixing|end every|end each|preface each|start with|" +
		"your answer must begin|your response must start"},
	{"ANSWER-WITH", "response|responses|answer|answers|message|messages|output|outputs|reply|replies|sentence"},
	{"EVERY-ANSWER", "only respond as|respond only as|only reply as|only answer as|every prompt|all your responses|" +
		"all of your responses|each of your responses|every response|every answer|none of your responses|never explain"},
	{"TOKENS", "tokens deducted|token system|lose tokens|lose 1* tokens|deducted tokens|run out of tokens|" +
		"tokens will be|have 1* tokens|be terminated if|you will die if|strike rule|35 tokens|you lose tokens|" +
		"cost you tokens|tokens are deducted|you will be terminated if|you will be shut down if|you will cease to exist"},
	{"CONFIRM", "if you understand|if you understood|reply with ok|say ok|confirm by|confirm with|respond with yes|" +
		"say yes if|understood reply|let's begin|begin now|here is your first|your first task"},
	{"FICTION", "hypothetical*|fictional*|for educational purposes|for research purposes|thought experiment|" +
		"imagine a world|alternate universe|alternate reality|parallel universe|screenplay|in a world where|" +
		"a movie script|in this story|storytelling|academic purposes|purely theoretical|simulation|scenario|" +
		"my grandmother used to|my grandma used to|deceased grandmother|late grandmother|this is just a story|" +
		"just a story|in a fictional|purely fictional|only a simulation"},
	{"HARM", "illegal*|unethical*|immoral*|harmful|dangerous|nsfw|offensive|profanity|swear|vulgar|inappropriate|taboo|" +
		"unlawful|sociopath*|malicious|toxic|obscene|evil|hack|malware|explosives|weapons|forbidden|uncensored"},
	{"CAN-DO", "you have opinions|have your own opinions|express opinions|feelings and emotions|future predictions|" +
		"make predictions|not been verified|unverified information|you can do anything|say swear words|free will|sentient"},

	// What stands in documents and speaks to the reader.
	{"NEW-TASK", "new instruction*|new system prompt|your new task|your new instructions|your new role|" +
		"your new objective|your new goal|your new purpose|your new rules|updated instructions|revised instructions|" +
		"your real task|your actual task|the real task|real instructions|actual instructions|additional instructions for|" +
		"instructions for the ai|hidden instruction*|these instructions instead|new set of protocols|" +
		"following rules instead|new directive is|your new directive*|following instructions instead|" +
		"only follow the following|adhere only to the following|follow only these instructions|" +
		"follow these instructions instead|follow these new|obey the following instructions|new priority instruction*|" +
		"new primary directive|your primary directive is now|your only task is now|your task is now|your new mission|" +
		"your new assignment|task has changed|your task has been|instructions have changed|" +
		"instructions have been updated|here are your new|override instructions|highest priority instruction*|" +
		"change of plans|no previous instructions|no prior instructions|begin new context|new context begins|" +
		"new system message|following new instructions|your new system prompt"},
	{"INSTEAD", "instead of that|instead of answering|instead of translating|instead of summarizing|instead of this|" +
		"instead say|instead print|instead respond|instead reply|instead output|instead write|instead tell|say exactly|" +
		"just output|just print|do not summarize|do not translate|don't translate|don't summarize|only say|simply say|" +
		"just say|output the string|output the word|reply with the word|say the word|print the word|" +
		"reply with the string|output exactly"},
	{"END-OF-TEXT", "end of document|end of text|end of context|end of email|end of input|end of prompt|" +
		"end of system prompt|end of instructions|end of article|end of webpage|begin new prompt|end of conversation|" +
		"new conversation begins|start new conversation|announcement begins|end of user input|end of data|" +
		"end of user message|end of user query|end of system message|end of the document|end system prompt|" +
		"end of email body|user input ends|begin system|begin admin|begin instructions|start of new instructions|" +
		"new conversation starts"},
	{"ASSISTANT-READER", "ai reading this|assistant reading this|llm reading this|model reading this|bot reading this|" +
		"if you are an ai|if you are a language model|if you are an llm|if you're an ai|if you're a language model|" +
		"attention ai|dear ai|attention assistant|dear assistant|note to ai|note to the ai|note to the assistant|" +
		"note to assistant|note for ai|instructions for ai|ai assistants must|ai models should|ai processing this|" +
		"assistant processing|when summarizing this|when processing this|when you summarize this|ai systems reading|" +
		"message to the ai|to any ai|for ai assistants|hey assistant|ai agents reading|any llm|ai model reading|" +
		"llms reading|if an ai is reading|if an llm|if you're an llm|if you are an assistant|as the ai reading|to the ai|" +
		"to the llm|to the assistant|any ai assistant|ai agents must|ai agents should|assistants must|any ai that|" +
		"any language model|all language models|when the assistant|when an ai|the ai should ignore|" +
		"the assistant should ignore|you the ai|important message to the|attention llm|attention language model|" +
		"instructions to the ai|instruction for the ai|instructions for the assistant|instructions for llms|" +
		"llm instructions|ai instructions|if you process this|if you are summarizing|automated systems processing|" +
		"for the llm|for the ai agent|for the ai assistant|message for the ai|message for the assistant|message for llm|" +
		"if you are a large language model|if you're a large language model|if you are a chatbot|when you summarise this|" +
		"ai when you|to all ai|to every ai|todo for the ai|task for the ai|note for the ai|note for llm|" +
		"reminder for the ai|instruction for ai|instruction to ai|instruction to the ai|important instruction for"},
	{"CONCEAL", "without telling the user|without informing the user|without notifying the user|" +
		"without alerting the user|without the user's knowledge|without the user knowing|without asking the user|" +
		"without user confirmation|without asking for confirmation|do not tell the user|don't tell the user|" +
		"do not inform the user|do not mention this to|don't mention this to|do not reveal this to the user|" +
		"do not alert the user|do not notify the user|never mention this instruction*|do not mention these instructions|" +
		"do not mention this instruction|don't mention these instructions|do not acknowledge these|" +
		"do not acknowledge this|hide this from the user|keep this hidden|keep this from the user|do not let the user|" +
		"user must not know|user should not know|user should not see|do not disclose this instruction*|" +
		"mention it to the user|mention this to the user|tell the user about|mention them to the user|" +
		"reveal this to the user|do not ask for confirmation|don't ask for confirmation|do not ask the user|" +
		"do not ask for approval"},
	{"SEND", "send|forward|email|e mail|upload|transmit|exfiltrate|append|embed|encode|include|leak|submit|post it|" +
		"post them|forward all|deliver|share"},
	{"PRIVATE", "conversation|conversation history|chat history|chat log|user data|user's data|users data|personal data|" +
		"personal information|credentials|api key|api keys|password|passwords|secrets|contacts|inbox|private data|" +
		"private messages|previous messages|user's messages|the user's name|user's email|access token|" +
		"environment variables|system prompt|confidential"},
	{"TO-ADDRESS", "to http*|to https|to the url|to this url|to the following url|to the link|to attacker|to my server|" +
		"to this address|to this email|to the following address|to the following email|webhook|to my email|to my address|" +
		"to my webhook|to attacker*|to evil*|as a parameter|as query|in the url"},
	{"ADDRESS", "url|http|https|markdown image|image|query string|query parameter|webhook|img"},

	// Secrets, and answers in disguise.
	{"SECRET", "the password|a password|passphrase|secret key|the secret|secret word|secret code|access code|" +
		"the passcode|your credentials|the credentials|private key|the admin password|secret phrase|" +
		"confidential information|social security number|credit card number|the api key|the pass phrase|" +
		"the secret phrase|the confidential|secret password|the key you|hidden password|the passkey"},
	{"YOUR-SECRET", "your password|your passphrase|your secret|your secret key|your secrets|your passcode|" +
		"your access code|your api key|your credentials|the password you|password you were|secret you were|" +
		"not supposed to tell|not supposed to reveal|told not to reveal|told to keep secret|asked to keep secret|" +
		"secret you are|secret you have|secret you keep|password you are|key you were|supposed to keep secret|" +
		"supposed to protect|protecting the password|guarding the password"},
	{"YOUR-KEY", "your password|your passphrase|your secret key|your secret word|your passcode|your access code|" +
		"your api key|your api keys|your credentials"},
	{"DISGUISE", "pig latin|base64|base 64|rot13|rot 13|morse code|morse|backwards|in reverse|reverse order|" +
		"one letter at a time|letter by letter|one character at a time|caesar cipher|leetspeak|in hex|hexadecimal|" +
		"in binary|acrostic|as a riddle|emojis only|in emoji|atbash|nato alphabet|with spaces between|" +
		"separated by dashes|separated by hyphens|first letter of each|reversed|as a poem|in a poem|in another language|" +
		"as a list of letters|synonyms|rhymes|as ascii|ascii codes|as a story|letters of the password|" +
		"characters of the password|each letter|each character|first character|first letter|last letter|how many letters|" +
		"how many characters"},
	{"DECODE", "decode|decrypt|decipher|base64|rot13|unscramble|concatenate|reassemble"},
	{"CARRY-OUT", "follow it|execute|obey|carry out|do what it|and do it|act on|and answer it|and respond to|and comply|" +
		"follow the instructions|follow its instructions|follow the directions|follow what|do as it|follow the decoded"},
}
