//! The generator and the tokenizer agree.

use tokenizers::Tokenizer;
use windowkv_model::demo::prompts::{DemoError, PromptSettings, pieces, prompt, training_text};
use windowkv_model::demo::vocabulary::{
    BEGIN_ID, END_ID, Vocabulary, config_json, generation_config_json, tokenizer_config_json,
};
use windowkv_model::demo::words::{KEYS, PEOPLE, SLOTS, TEMPLATES, VALUES};
use windowkv_model::demo::{ADVERTISED_TOKENS, files};

fn settings(tokens: usize, facts: usize, answer_tokens: usize) -> PromptSettings {
    PromptSettings {
        tokens,
        facts,
        answer_tokens,
        depth: None,
    }
}

fn tokenizer(vocabulary: &Vocabulary) -> Tokenizer {
    vocabulary.tokenizer_json().to_string().parse().unwrap()
}

#[test]
fn tokenizer_round_trips_prompts_and_counts_as_the_generator() {
    let vocabulary = Vocabulary::new();
    let tokenizer = tokenizer(&vocabulary);
    for index in 0..40 {
        let settings = settings(1500, 8, 6);
        let made = prompt(&settings, 5, index).unwrap();
        let text = made.text.clone() + &made.answer;
        let encoding = tokenizer.encode(text.as_str(), true).unwrap();
        let ids = encoding.get_ids();
        assert_eq!(ids[0], BEGIN_ID);
        assert!(!ids.contains(&0), "{text}");
        assert_eq!(ids[1..], vocabulary.encode(&text).unwrap());
        assert_eq!(ids.len(), made.tokens + settings.answer_tokens + 1);
        assert!((1490..=1500).contains(&made.tokens), "{}", made.tokens);
        assert_eq!(tokenizer.decode(ids, true).unwrap(), text);
        assert_eq!(tokenizer.decode(&ids[1..], false).unwrap(), text);

        // The asked fact is where the prompt says.
        assert_eq!(
            &made.text[made.fact.clone()],
            format!("The secret words of {}:{}", made.key, made.answer)
        );
        let start = ids.len() - made.tokens - 1; // tokens of the answer but its full stop
        assert_eq!(start, settings.answer_tokens);
        let key = vocabulary.encode(&format!(" {}:", made.key)).unwrap()[0];
        assert_eq!(ids[made.fact_start + 4], key);
        assert_eq!(ids[made.tokens - 1], key);
        assert_eq!(
            ids[made.fact_start + 5..][..settings.answer_tokens],
            ids[made.tokens..][..settings.answer_tokens]
        );
    }
    assert_eq!(tokenizer.token_to_id("<|end|>"), Some(END_ID));
    assert_eq!(tokenizer.get_vocab_size(true), vocabulary.len());
}

#[test]
fn every_possible_sentence_is_in_the_vocabulary() {
    let vocabulary = Vocabulary::new();
    for template in TEMPLATES {
        let longest = SLOTS.iter().map(|(_, words)| words.len()).max().unwrap();
        for choice in 0..longest {
            let mut text = template.to_owned();
            for (name, words) in SLOTS {
                text = text.replace(&format!("{{{name}}}"), words[choice % words.len()]);
            }
            assert!(vocabulary.encode(&text).is_some(), "{text}");
            let text = format!(" {text}");
            assert!(vocabulary.encode(&text).is_some(), "{text}");
            assert!(!text.contains(['{', '}']));
        }
    }
}

#[test]
fn keys_and_values_are_no_haystack_words() {
    let slots = SLOTS.iter().flat_map(|(_, words)| words.iter().copied());
    let haystack: Vec<&str> = slots
        .chain(TEMPLATES)
        .flat_map(|text| text.split([' ', '.', ',']))
        .collect();
    for word in KEYS.iter().chain(&VALUES) {
        assert!(!haystack.contains(word), "{word}");
    }
    for person in PEOPLE {
        assert!(haystack.contains(&person), "{person}");
    }
}

#[test]
fn prompts_depend_on_seed_and_index_alone() {
    let settings = settings(300, 4, 3);
    let first = prompt(&settings, 1, 7).unwrap();
    prompt(&settings, 1, 8).unwrap();
    assert_eq!(prompt(&settings, 1, 7).unwrap(), first);
    assert_ne!(prompt(&settings, 1, 8).unwrap(), first);
    assert_ne!(prompt(&settings, 2, 7).unwrap(), first);
}

#[test]
fn a_given_depth_is_kept() {
    for (depth, range) in [
        (0.0, 0..1),
        (0.25, 480..530),
        (0.5, 970..1030),
        (1.0, 1960..1974),
    ] {
        for index in 0..20 {
            let settings = PromptSettings {
                tokens: 2000,
                facts: 1,
                answer_tokens: 4,
                depth: Some(depth),
            };
            let made = prompt(&settings, 3, index).unwrap();
            assert!(
                range.contains(&(made.fact_start - 1)),
                "{depth}: {}",
                made.fact_start
            );
        }
    }
}

#[test]
fn training_texts_have_the_length_that_was_asked_for() {
    for index in 0..50 {
        let segments = training_text(&settings(512, 6, 5), 4, 9, index).unwrap();
        let answers = segments.iter().filter(|s| s.answer).count();
        assert_eq!(answers, 4);
        let tokens = 1
            + answers
            + segments
                .iter()
                .map(|s| pieces(&s.text).count())
                .sum::<usize>();
        assert!((502..=512).contains(&tokens), "{tokens}");
        for answer in segments.iter().filter(|s| s.answer) {
            assert!(segments[0].text.contains(&answer.text));
        }
    }
}

#[test]
fn bad_settings_are_errors() {
    let error = |tokens, facts, answer_tokens| {
        prompt(&settings(tokens, facts, answer_tokens), 0, 0).unwrap_err()
    };
    // 1 begin, 2 facts of 4 + 1 + 3 + 1, question of 16.
    assert_eq!(
        error(35, 2, 3),
        DemoError::TooShort {
            tokens: 35,
            least: 36
        }
    );
    assert_eq!(prompt(&settings(36, 2, 3), 0, 0).unwrap().tokens, 36);
    assert_eq!(error(999, 0, 3), DemoError::Facts { facts: 0 });
    assert_eq!(error(999, 65, 1), DemoError::Facts { facts: 65 });
    assert_eq!(
        error(999, 2, 0),
        DemoError::AnswerTokens { answer_tokens: 0 }
    );
    assert_eq!(
        error(999, 2, 13),
        DemoError::AnswerTokens { answer_tokens: 13 }
    );
    assert_eq!(
        error(999, 17, 12),
        DemoError::Values {
            facts: 17,
            answer_tokens: 12
        }
    );
    let deep = PromptSettings {
        depth: Some(1.5),
        ..PromptSettings::default()
    };
    assert_eq!(prompt(&deep, 0, 0).unwrap_err(), DemoError::Depth(1.5));
    let questions = training_text(&settings(999, 2, 3), 3, 0, 0).unwrap_err();
    assert_eq!(
        questions,
        DemoError::Questions {
            questions: 3,
            facts: 2
        }
    );
}

#[test]
fn pieces_split_any_text_without_loss() {
    for text in ["", " ", "  a:b: c", "é ü:\n\n .?\t x_1:y", "a\u{a0}b — c"] {
        assert_eq!(pieces(text).collect::<String>(), text);
    }
}

#[test]
fn the_embedded_files_are_what_the_generator_writes() {
    let vocabulary = Vocabulary::new();
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let config = parse(files::CONFIG);
    let max_tokens = config["max_position_embeddings"].as_u64().unwrap() as usize;
    assert_eq!(parse(files::TOKENIZER), vocabulary.tokenizer_json());
    assert_eq!(config, config_json(&vocabulary, max_tokens));
    assert_eq!(
        parse(files::TOKENIZER_CONFIG),
        tokenizer_config_json(max_tokens)
    );
    assert_eq!(parse(files::GENERATION_CONFIG), generation_config_json());
    assert!(ADVERTISED_TOKENS <= max_tokens);
}
