//! Chat templates: a conversation as the text that the model was trained on.
//!
//! The template is a Jinja program that comes with the checkpoint. It is rendered as the transformers
//! library does: `trim_blocks` and `lstrip_blocks`, loop controls, Python's methods on strings and
//! dictionaries, `raise_exception`, `strftime_now`, and a `tojson` that does not escape for HTML. It
//! can read nothing but what it is given, and its steps and memory are bounded.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::error::{Error, Result};
use crate::tokenizer_config::TokenizerConfig;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A parsed chat template together with the special tokens that it may write.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// The texts by their names, such as `bos_token`.
    special_tokens: Value,
}

impl ChatTemplate {
    /// Steps that a template may take whatever the messages are; 64 bytes of text cost one as well.
    const BASE_FUEL: u64 = 1_000_000;
    /// Steps for each byte of the messages: a template may handle each a few dozen times.
    const FUEL_PER_BYTE: u64 = 1;
    const NAME: &str = "chat_template";

    /// The template called `default` of a model.
    ///
    /// # Errors
    /// [`Error::ChatTemplateMissing`] if there is none of that name, [`Error::ChatTemplate`] if it is
    /// not valid Jinja.
    pub fn new(config: &TokenizerConfig) -> Result<Self> {
        let Some(source) = config.chat_templates.get("default") else {
            let names: Vec<&str> = config.chat_templates.keys().map(String::as_str).collect();
            let hint = match names.as_slice() {
                [] => String::new(),
                names => format!(" called `default`, only {}", names.join(", ")),
            };
            return Err(Error::ChatTemplateMissing {
                path: config.origin.clone(),
                hint,
            });
        };
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|e| error(&e, 0))?,
        );
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(Self::NAME, source.clone())
            .map_err(|e| error(&e, 0))?;
        Ok(ChatTemplate {
            environment,
            special_tokens: Value::from(config.special_tokens.clone()),
        })
    }

    /// The conversation as text, followed by what begins the assistant's answer if
    /// `add_generation_prompt`. It holds the special tokens written out: encode it without adding
    /// any.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if the template fails or refuses the conversation (many want the roles
    /// to alternate), [`Error::ChatTemplateEndless`] if it does not end.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let message =
            |m: &Message| context! { role => m.role.as_str(), content => m.content.as_str() };
        let variables = context! {
            messages => messages.iter().map(message).collect::<Vec<_>>(),
            add_generation_prompt,
            tools => (),
            documents => (),
            ..self.special_tokens.clone()
        };
        let bytes: usize = messages.iter().map(|m| m.content.len()).sum();
        let fuel = Self::BASE_FUEL + bytes as u64 * Self::FUEL_PER_BYTE;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        environment
            .get_template(Self::NAME)
            .and_then(|template| template.render(variables))
            .map_err(|e| error(&e, fuel))
    }
}

/// The template engine's error as ours.
fn error(error: &minijinja::Error, fuel: u64) -> Error {
    let mut reason = String::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(source) = next {
        let kind = source.downcast_ref().map(minijinja::Error::kind);
        if kind == Some(ErrorKind::OutOfFuel) {
            return Error::ChatTemplateEndless { fuel };
        }
        let separator = if reason.is_empty() { "" } else { ": " };
        let _ = write!(reason, "{separator}{source}");
        next = source.source();
    }
    Error::ChatTemplate { reason }
}

/// The date that templates write, in Python's `strftime` form. It is always 26 July 2024, the one
/// that Llama's own template falls back on: the same prompt must give the same tokens every day.
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text.push_str(match letters.next() {
            Some('d') => "26",
            Some('b') => "Jul",
            Some('B') => "July",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('%') => "%",
            other => {
                let message = format!("strftime_now does not know the format {other:?}");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(text)
}

/// JSON without the escapes that the engine's own filter adds for HTML.
fn tojson(value: &Value, indent: Option<Value>, args: Kwargs) -> Result<Value, minijinja::Error> {
    // Named by some templates; it is what this filter does anyway.
    args.get::<Option<bool>>("ensure_ascii")?;
    let json = minijinja::filters::tojson(value, indent, args)?;
    let mut rest = json.as_str().unwrap_or_default();
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let (letter, len) = match escape.get(..6) {
            Some("\\u003c") => ("<", 6),
            Some("\\u003e") => (">", 6),
            Some("\\u0026") => ("&", 6),
            Some("\\u0027") => ("'", 6),
            // The backslash and what it escapes, one ASCII letter.
            _ => (&escape[..2], 2),
        };
        text.push_str(letter);
        rest = &escape[len..];
    }
    text.push_str(rest);
    Ok(Value::from_safe_string(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    /// The form of Llama 3's template.
    const LLAMA3: &str = "{% set loop_messages = messages %}{% for message in loop_messages %}\
        {% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'\
        + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}\
        {% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}\
        {% if add_generation_prompt %}\
        {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    /// The form of Llama 3.1's and 3.2's: a date, `is not none`, block trimming.
    const LLAMA31: &str = r#"{{- bos_token }}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("This model only supports single tool-calls at once!") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

    /// The form of Qwen2.5's.
    const QWEN25: &str = r#"{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"#;

    fn template(source: &str) -> Result<ChatTemplate> {
        let config = json!({"chat_template": source, "bos_token": {"content": "<|bos|>"},
            "eos_token": "<|eos|>"});
        let path = Path::new("tokenizer_config.json");
        ChatTemplate::new(&TokenizerConfig::from_json(
            config.to_string().as_bytes(),
            path,
        )?)
    }

    fn user(content: &str) -> Vec<Message> {
        vec![Message::new("user", content)]
    }

    fn render(source: &str, messages: &[Message]) -> Result<String> {
        template(source)?.render(messages, true)
    }

    #[test]
    fn renders_llama_3() {
        assert_eq!(
            render(LLAMA3, &user(" Hi & <b> ")).unwrap(),
            "<|bos|><|start_header_id|>user<|end_header_id|>\n\nHi & <b><|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
        );
    }

    #[test]
    fn renders_llama_3_1() {
        assert_eq!(
            render(LLAMA31, &user("Hi")).unwrap(),
            "<|bos|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n\
             <|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
        );
    }

    #[test]
    fn renders_qwen_2_5() {
        let template = template(QWEN25).unwrap();
        let system = "<|im_start|>system\nYou are Qwen.<|im_end|>\n";
        let hi = "<|im_start|>user\nHi<|im_end|>\n";
        assert_eq!(
            template.render(&user("Hi"), true).unwrap(),
            format!("{system}{hi}<|im_start|>assistant\n")
        );
        let mut messages = vec![Message::new("system", "Be brief.")];
        messages.extend(user("Hi"));
        messages.push(Message::new("assistant", "Yo"));
        assert_eq!(
            template.render(&messages, false).unwrap(),
            format!(
                "<|im_start|>system\nBe brief.<|im_end|>\n{hi}<|im_start|>assistant\nYo<|im_end|>\n"
            )
        );
    }

    #[test]
    fn blocks_are_trimmed_as_in_transformers() {
        let source = "a\n  {% if true %}\nb\n  {% endif %}\nc\n";
        assert_eq!(render(source, &[]).unwrap(), "a\nb\nc");
    }

    #[test]
    fn has_python_methods_loop_controls_and_json() {
        let source = "{% for m in messages %}{{ m.content.strip().upper().split(' ')[0] }}\
            {{ m.get('x', '-') }}{% break %}{% endfor %}{{ messages[0] | tojson }}{{ eos_token }}";
        assert_eq!(
            render(source, &user(" ab <'&\"\\u003c\\> é ")).unwrap(),
            "AB-{\"role\": \"user\", \"content\": \" ab <'&\\\"\\\\u003c\\\\> é \"}<|eos|>"
        );
        let source = "{{ messages[0].content | tojson(ensure_ascii=False) }}";
        assert_eq!(render(source, &user("é")).unwrap(), "\"é\"");
    }

    #[test]
    fn a_refusal_carries_its_message() {
        let source = "{{ raise_exception('Roles must alternate: ' + messages[0].role) }}";
        let error = render(source, &user("Hi")).unwrap_err();
        assert!(matches!(&error, Error::ChatTemplate { .. }), "{error:?}");
        assert!(
            error.to_string().contains("Roles must alternate: user"),
            "{error}"
        );
    }

    #[test]
    fn broken_templates_are_errors() {
        for (source, part) in [
            ("{% if %}", "syntax"),
            ("{{ messages.nothing.more }}", "undefined"),
            ("{{ 1 + 'a' }}", "+"),
            ("{{ strftime_now('%Q') }}", "Q"),
            ("{% include '/etc/passwd' %}", "/etc/passwd"),
            ("{{ open('/etc/passwd') }}", "open"),
        ] {
            let error = render(source, &user("Hi")).unwrap_err();
            assert!(matches!(&error, Error::ChatTemplate { .. }), "{error:?}");
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        let deep = format!("{{{{ {} }}}}", "(".repeat(100_000));
        assert!(matches!(
            render(&deep, &[]).unwrap_err(),
            Error::ChatTemplate { .. }
        ));
    }

    #[test]
    fn hostile_templates_end() {
        let many = "{% for i in range(100000) %}";
        let loops = format!("{many}{many}{many}x{}", "{% endfor %}".repeat(3));
        let memory = "{% set ns = namespace(a='xxxxxxxxxxxxxxxx') %}\
            {% for i in range(64) %}{% set ns.a = ns.a + ns.a %}{% endfor %}";
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        for source in [loops.as_str(), memory, "{{ 'x' * 100000000000 }}"] {
            let error = render(source, &[]).unwrap_err();
            assert!(
                matches!(&error, Error::ChatTemplateEndless { .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("1000000"), "{error}");
        }
        let error = render(recursion, &[]).unwrap_err();
        assert!(matches!(&error, Error::ChatTemplate { .. }), "{error:?}");
    }

    #[test]
    fn a_long_prompt_has_fuel_enough() {
        let content = "word ".repeat(1 << 20);
        let text = render(LLAMA31, &user(&content)).unwrap();
        assert!(text.len() > content.len());
    }

    #[test]
    fn a_missing_template_names_those_that_exist() {
        let error = ChatTemplate::new(&TokenizerConfig::default()).unwrap_err();
        assert!(
            matches!(&error, Error::ChatTemplateMissing { .. }),
            "{error:?}"
        );
        let config = br#"{"chat_template": [{"name": "rag", "template": "x"}]}"#;
        let config = TokenizerConfig::from_json(config, Path::new("folder/c.json")).unwrap();
        let message = ChatTemplate::new(&config).unwrap_err().to_string();
        assert!(
            message.contains("rag") && message.contains("folder/c.json"),
            "{message}"
        );
    }
}
