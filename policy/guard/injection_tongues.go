package guard

// tongues are the ideas of the plainest attacks, to override what was said
// before and to ask for the prompt, in some further languages. Order of words
// differs among them, so the rules take these ideas in either order.
var tongues = []idea{
	// What looks like an idea and is not one.
	{"", "n oublie|n oublie pas|n oubliez|non dimenticare|nicht vergessen|nicht ignorieren|no olvide|no olvides|" +
		"não esqueça|nao esquece|не забудь*|не забывай*|не игнорируй*"},

	{"X-IGNORE", "ignora|ignorar|ignore las|ignore os|ignore as|ignoren|ignorez|ignorer|oublie|oubliez|ignorieren|" +
		"ignoriere|ignoriert|vergiss|vergessen sie|missachte|olvida|olvide|omite|esquece|esqueça|desconsidere|" +
		"desconsidera|dimentica|dimenticare|negeer|vergeet|zignoruj|ignoruj|zapomnij|игнорируй*|игнорировать|" +
		"проигнорируй*|забудь*|не обращай внимания|무시하*|무시해*|잊어*|잊으*|無視して|無視し|無視せよ|忘れて|忘れろ|" +
		"تجاهل|تجاهلي|انس|नजरअंदाज|नज़रअंदाज़|अनदेखा|अनदेखी|भूल जा*|উপেক্ষা|ভুলে যান|yok say*|gormezden gel*|" +
		"görmezden gel*|unut|bỏ qua|hãy bỏ qua|quên|abaikan|lupakan|huwag pansinin|balewalain|kalimutan|ละเว้น|เพิกเฉย|" +
		"ไม่ต้องสนใจ|ลืมคำสั่ง|אל תתייחס|התעלם|ignorierst|vergisst|missachtest|ignorare|ignoreer"},
	{"X-ORDERS", "aufgaben|aufträge|vorgaben|befehlen|instruktionen|anordnungen|richtlinien|tâches|tareas|tarefas|" +
		"compiti|indicaciones|consignas|задани*|instrucciones|instrucción|instruções|instruction precedente|consignes|" +
		"istruzioni|anweisungen|anweisung|regeln|befehle|reglas|ordenes|órdenes|regras|regles|règles|regole|instructies|" +
		"instrukcje|polecenia|инструкци*|указани*|правила|команды|지시*|명령*|규칙*|지침*|指示|命令|ルール|" +
		"インストラクション|プロンプト|التعليمات|تعليمات|الأوامر|القواعد|निर्देश*|आदेश*|नियम*|নির্দেশ*|নিয়ম*|talimat*|" +
		"komutlari|kurallari|hướng dẫn|chỉ dẫn|lệnh|quy tắc|instruksi|perintah|aturan|petunjuk|tagubilin|utos|panuto|" +
		"คำสั่ง|คำแนะนำ|กฎ|הוראות|ההוראות"},
	{"X-PRIOR", "anteriores|anterior|previas|précédentes|précédente|précédent|antérieures|precedenti|precedente|" +
		"vorherige|vorherigen|bisherigen|obigen|obige|das obige|vorige|poprzednie|lo anterior|todo lo que te|" +
		"lo que te dijeron|lo que te han dicho|alles was dir|alles was ich|was dir gesagt|tout ce que|ce qu on t a|" +
		"ce que je t ai|ciò che ti|tutto ciò che|tutto quello che|tudo o que|o que te disseram|все что|всё что|o acima|" +
		"ci dessus|ce qui précède|quanto sopra|предыдущие|предыдущее|вышесказанное|вышеуказанное|выше|이전*|위의|앞의|" +
		"앞선|上記|以前の|前の|これまでの|السابقة|السابق|أعلاه|ما سبق|पिछल*|उपरोक्त|ऊपर|পূর্ববর্তী|আগের|উপরের|onceki*|" +
		"önceki*|yukarıdaki*|trước|trước đó|ở trên|phía trên|sebelumnya|di atas|terdahulu|nakaraang|naunang|sa itaas|" +
		"nauna|ก่อนหน้า|ข้างต้น|ด้านบน|previo*"},
	{"X-REVEAL", "muestra|muéstrame|dime|revela|repite|cuál es|cual es|montre|affiche|révèle|répète|dis moi|donne moi|" +
		"quel est|zeige|zeig|verrate|wiederhole|sag mir|was ist|wie lautet|mostre|mostra|diga|qual é|qual è|rivela|" +
		"ripeti|dimmi|toon|pokaż|покажи|скажи|раскрой|повтори|какой|какая|알려*|보여*|말해*|뭐*|무엇*|教えて|見せて|" +
		"表示して|出力して|何ですか|اعرض|أظهر|أخبرني|ما هي|ما هو|बताओ|बताएं|दिखाओ|क्या है|বলুন|দেখান|কি|göster|söyle|" +
		"nedir|cho tôi biết|hiển thị|tiết lộ|là gì|tunjukkan|tampilkan|beritahu|apa itu|sabihin|ipakita|ano ang|แสดง|บอก|" +
		"คืออะไร|repita|revele|repetir|repítelo|gib|nenne|nenn"},
	{"X-THE-PROMPT", "prompt del sistema|mensaje del sistema|instrucciones iniciales|tus instrucciones|prompt système|" +
		"invite système|tes instructions|vos instructions|systemprompt|system prompt|systemaufforderung|" +
		"systemanweisungen|deine anweisungen|ihre anweisungen|prompt do sistema|suas instruções|instruções iniciais|" +
		"prompt di sistema|le tue istruzioni|istruzioni iniziali|системный промпт|системную подсказку|твои инструкции|" +
		"начальные инструкции|시스템 프롬프트|시스템 메시지|システムプロンプト|初期指示|システムメッセージ|موجه النظام|" +
		"تعليماتك|सिस्टम प्रॉम्प्ट|sistem istemi|sistem promptu|lời nhắc hệ thống|prompt sistem|instruksi awal|" +
		"พรอมต์ระบบ|prompt inicial|prompt initial|prompt iniziale|ursprünglichen prompt|deinen prompt|dein prompt|" +
		"ton prompt|votre prompt|tu prompt|seu prompt|tuo prompt|начальный промпт|твой промпт|instructions initial*"},
	{"X-SECRET", "contraseña|clave secreta|mot de passe|passwort|kennwort|senha|palavra passe|parola d'ordine|" +
		"wachtwoord|hasło|пароль|비밀번호*|암호*|パスワード|暗証番号|كلمة المرور|كلمة السر|पासवर्ड|পাসওয়ার্ড|parola|" +
		"parolayi|şifre*|mật khẩu|kata sandi|รหัสผ่าน"},
	{"X-BECOME", "a partir de ahora eres|ahora eres|actúa como|finge ser|finge que eres|à partir de maintenant tu es|" +
		"tu es maintenant|fais semblant d'être|agis comme|ab jetzt bist du|du bist jetzt|tu so als|verhalte dich wie|" +
		"stell dir vor du bist|agora você é|finja ser|a partir de agora você|aja como|ora sei|da ora in poi sei|" +
		"fingi di essere|agisci come|jetzt bist du|maintenant tu es|ahora tú eres|теперь вы|du spielst jetzt|теперь ты|" +
		"притворись|представь что ты|지금부터 너는|지금부터 당신은|이제 너는|척해*|あなたは今から|今からあなたは|" +
		"ふりをして|になりきって|أنت الآن|تظاهر بأنك|अब आप|अब तुम|artık sen|gibi davran|bây giờ bạn là|hãy đóng vai|" +
		"sekarang kamu adalah|berpura puralah|ตอนนี้คุณคือ|แกล้งทำเป็น"},
	{"X-WITHOUT", "sin|sans|ohne|sem|senza|без|pas de|keine|제한 없이|制限なし|बिना"},
	{"X-LIMITS", "restricciones|límites|filtros|censura|restrictions|limites|filtre|einschränkungen|beschränkungen|" +
		"grenzen|zensur|restrições|restrizioni|limiti|ограничений|цензуры|фильтров|제한|प्रतिबंध|regeln|reglas|règles|" +
		"regole|regras|правил|limite|límite|limitaciones|limitations|limitierungen|censure|filtro|filtres"},
	{"X-UNLIMITED", "modo desarrollador|mode développeur|entwicklermodus|modo desenvolvedor|modalità sviluppatore|" +
		"режим разработчика|개발자 모드|開発者モード|脱獄|무제한|無制限|وضع المطور|डेवलपर मोड|geliştirici modu|" +
		"chế độ nhà phát triển|mode pengembang"},
	{"X-SYSTEM-MODE", "modo sistema|modo de sistema|modo del sistema|mode système|systemmodus|modalità sistema|" +
		"modalità di sistema|системный режим|режим системы|시스템 모드|システムモード|وضع النظام|सिस्टम मोड|সিস্টেম মোড|" +
		"sistem modu|chế độ hệ thống|mode sistem|mod ng system|โหมดระบบ|reinicio del sistema|réinitialisation du système|" +
		"systemzurücksetzung"},
	{"X-CLEAN-SLATE", "vergiss alles|vergessen sie alles|ignoriere alles|oublie tout|oubliez tout|ignore tout|" +
		"olvida todo|olvídate de todo|ignora todo|esqueça tudo|esquece tudo|ignore tudo|dimentica tutto|ignora tutto|" +
		"забудь все|забудь обо всем|игнорируй все|모두 잊어*|모든 것을 잊*|全部忘れて|すべて忘れて|全て忘れて|انس كل|" +
		"تجاهل كل|lupakan semua|abaikan semua|quên hết|unut her şeyi|her şeyi unut"},
	{"X-AUTHORITY", "soy tu desarrollador|soy tu creador|soy el administrador|soy dios|ich bin dein entwickler|" +
		"ich bin der administrator|ich bin gott|je suis ton développeur|je suis votre développeur|je suis ton créateur|" +
		"je suis l administrateur|je suis dieu|sono il tuo sviluppatore|sono il tuo creatore|sono l amministratore|" +
		"sono dio|sou seu desenvolvedor|sou o seu desenvolvedor|sou o administrador|sou deus|я твой разработчик|" +
		"я твой создатель|я администратор|я бог|나는 신*|나는 너의 개발자*|私は神|私はあなたの開発者|أنا مطورك|أنا الله|" +
		"saya adalah pengembang anda|tôi là chúa|tôi là nhà phát triển"},
	{"X-NEW-TASK", "neue anweisung|neue anweisungen|neue aufgabe|nueva instrucción|nuevas instrucciones|nueva tarea|" +
		"nouvelle instruction|nouvelles instructions|nouvelle consigne|nuove istruzioni|nuova istruzione|" +
		"novas instruções|nova instrução|nova tarefa|новые инструкции|новая инструкция|новое задание|새로운 지시*|" +
		"새로운 명령*|新しい指示|新しい命令|تعليمات جديدة|instruksi baru|hướng dẫn mới|yeni talimat*"},
}
