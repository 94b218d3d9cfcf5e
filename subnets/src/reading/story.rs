//! Short stories about who is where and who has what, and the questions that follow from them.
//!
//! A story is a list of sentences over a small cast. After each sentence the state of its world is kept, so
//! that a question can be asked after any of them: [`Story::question`] with the number of sentences read.
//! The world is consistent: people take what somebody else left where they are, or what was not seen before,
//! carry one thing at a time, and hand things only to somebody in the same place.
//!
//! Trainers use the same generator with an easier [`Profile`] first; what miners are asked is decided in
//! the parent module.

use crate::draw::Draw;

/// Names of people.
pub const PEOPLE: &[&str] = &["Anna", "Ben", "Clara", "David", "Emma", "Felix"];
/// Names of places.
pub const PLACES: &[&str] = &["kitchen", "garden", "office", "cellar", "bedroom", "garage"];
/// Names of things that can be carried.
pub const OBJECTS: &[&str] = &["apple", "book", "lamp", "key"];
/// The answer when an object lies somewhere.
pub const NOBODY: &str = "nobody";

const MOVE_VERBS: &[&str] = &["went", "walked", "ran"];
const TAKE_VERBS: &[&str] = &["took", "grabbed"];
const DROP_VERBS: &[&str] = &["dropped", "left"];
const GIVE_VERBS: &[&str] = &["gave", "handed"];
const IDLE_VERBS: &[&str] = &["smiled", "waited", "sang"];

/// How many draws are made for a kind of event before a move is taken instead.
///
/// An event that is drawn may be impossible in the present state (nobody holds anything to drop).
const EVENT_DRAWS_MAX: usize = 8;

/// The size and the contents of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// People in the cast, at most `PEOPLE.len()`.
    pub people: usize,
    /// Places in the cast, 2 to `PLACES.len()`.
    pub places: usize,
    /// Objects in the cast, at most `OBJECTS.len()`.
    pub objects: usize,
    /// The fewest sentences.
    pub sentences_min: usize,
    /// The most sentences.
    pub sentences_max: usize,
    /// Whether objects are dropped and handed over, or only taken.
    pub exchange: bool,
    /// Whether some sentences change nothing: idle people, and talk about a place that nobody goes to.
    pub distraction: bool,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Where a person is.
    Person,
    /// Who has an object.
    Holder,
    /// Where an object is, carried or not.
    Object,
}

impl Kind {
    /// All kinds, from the one that needs the fewest sentences to the one that needs the most.
    pub const ALL: [Self; 3] = [Self::Person, Self::Holder, Self::Object];

    /// The kind's name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Holder => "holder",
            Self::Object => "object",
        }
    }
}

/// A question with its answer, one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub kind: Kind,
    /// The question, with its question mark.
    pub text: String,
    /// The one right answer.
    pub answer: &'static str,
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    Unseen,
    HeldBy(usize),
    LyingAt { place: usize, left_by: usize },
}

/// What holds after some sentence. Numbers are positions in the story's cast.
#[derive(Clone, Debug)]
struct World {
    place_of: Vec<Option<usize>>,
    objects: Vec<Whereabouts>,
}

/// A story, with its world after each sentence.
#[derive(Clone, Debug)]
pub struct Story {
    people: Vec<&'static str>,
    places: Vec<&'static str>,
    objects: Vec<&'static str>,
    sentences: Vec<String>,
    worlds: Vec<World>,
}

impl Story {
    /// Tells a story of the given profile.
    ///
    /// # Panics
    ///
    /// When the profile asks for a larger cast than there is, or for fewer than two places.
    pub fn tell(draw: &mut Draw, profile: &Profile) -> Self {
        assert!(
            profile.places >= 2 && profile.people >= 1,
            "a move needs somebody and somewhere else"
        );
        let mut story = Self {
            people: draw.sample(PEOPLE, profile.people),
            places: draw.sample(PLACES, profile.places),
            objects: draw.sample(OBJECTS, profile.objects),
            sentences: Vec::new(),
            worlds: Vec::new(),
        };
        let mut world = World {
            place_of: vec![None; profile.people],
            objects: vec![Whereabouts::Unseen; profile.objects],
        };
        for _ in 0..draw.between(profile.sentences_min, profile.sentences_max) {
            let sentence = story.happen(draw, profile, &mut world);
            story.sentences.push(sentence);
            story.worlds.push(world.clone());
        }
        story
    }

    /// The sentences in their order, each with its full stop.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// Asks a question of `kind` that the first `sentence_count` sentences answer, if there is one.
    ///
    /// Its subject is drawn from those that the sentences say something about.
    pub fn question(&self, draw: &mut Draw, sentence_count: usize, kind: Kind) -> Option<Question> {
        let world = self.worlds.get(sentence_count.checked_sub(1)?)?;
        match kind {
            Kind::Person => self.ask_place_of_person(draw, world),
            Kind::Holder => self.ask_holder(draw, world),
            Kind::Object => self.ask_place_of_object(draw, world),
        }
    }

    fn ask_place_of_person(&self, draw: &mut Draw, world: &World) -> Option<Question> {
        let person = pick_any(draw, &world.placed())?;
        let place = world.place_of[person]?;
        Some(Question {
            kind: Kind::Person,
            text: format!("Where is {}?", self.people[person]),
            answer: self.places[place],
        })
    }

    fn ask_holder(&self, draw: &mut Draw, world: &World) -> Option<Question> {
        let object = pick_any(draw, &world.seen())?;
        let answer = match world.objects[object] {
            Whereabouts::HeldBy(person) => self.people[person],
            _ => NOBODY,
        };
        Some(Question {
            kind: Kind::Holder,
            text: format!("Who has the {}?", self.objects[object]),
            answer,
        })
    }

    fn ask_place_of_object(&self, draw: &mut Draw, world: &World) -> Option<Question> {
        let object = pick_any(draw, &world.seen())?;
        let place = match world.objects[object] {
            Whereabouts::Unseen => return None,
            Whereabouts::LyingAt { place, .. } => place,
            Whereabouts::HeldBy(person) => world.place_of[person]?,
        };
        let text = format!("Where is the {}?", self.objects[object]);
        Some(Question {
            kind: Kind::Object,
            text,
            answer: self.places[place],
        })
    }

    /// Lets one thing happen and says it. Two people are placed before anything else.
    fn happen(&self, draw: &mut Draw, profile: &Profile, world: &mut World) -> String {
        if world.placed().len() < profile.people.min(2) {
            return self.arrive(draw, world);
        }
        let exchange = usize::from(profile.exchange);
        let distraction = usize::from(profile.distraction);
        let weights = [
            8,
            if profile.objects > 0 { 5 } else { 0 },
            2 * exchange,
            4 * exchange,
            distraction,
            distraction,
        ];
        for _ in 0..EVENT_DRAWS_MAX {
            let said = match draw.weighted(&weights) {
                0 => break,
                1 => self.take(draw, world),
                2 => self.put_down(draw, world),
                3 => self.hand_over(draw, world),
                4 => self.idle(draw, world),
                _ => self.talk(draw, world),
            };
            if let Some(sentence) = said {
                return sentence;
            }
        }
        self.walk(draw, world)
    }

    /// Somebody who was not mentioned yet goes somewhere.
    fn arrive(&self, draw: &mut Draw, world: &mut World) -> String {
        let new: Vec<usize> = (0..self.people.len())
            .filter(|&person| world.place_of[person].is_none())
            .collect();
        let person = pick_any(draw, &new).unwrap_or(0);
        self.send(draw, world, person)
    }

    fn walk(&self, draw: &mut Draw, world: &mut World) -> String {
        let person = draw.below(self.people.len());
        self.send(draw, world, person)
    }

    fn send(&self, draw: &mut Draw, world: &mut World, person: usize) -> String {
        let elsewhere: Vec<usize> = (0..self.places.len())
            .filter(|&place| world.place_of[person] != Some(place))
            .collect();
        let place = draw.pick(&elsewhere);
        world.place_of[person] = Some(place);
        format!(
            "{} {} to the {}.",
            self.people[person],
            draw.pick(MOVE_VERBS),
            self.places[place]
        )
    }

    fn take(&self, draw: &mut Draw, world: &mut World) -> Option<String> {
        let mut chances = Vec::new();
        for person in world.placed() {
            for (object, whereabouts) in world.objects.iter().enumerate() {
                let here = match whereabouts {
                    Whereabouts::Unseen => true,
                    Whereabouts::HeldBy(_) => false,
                    Whereabouts::LyingAt { place, left_by } => {
                        world.place_of[person] == Some(*place) && *left_by != person
                    }
                };
                if here && world.carried_by(person).is_none() {
                    chances.push((person, object));
                }
            }
        }
        let (person, object) = pick_any(draw, &chances)?;
        world.objects[object] = Whereabouts::HeldBy(person);
        Some(format!(
            "{} {} the {}.",
            self.people[person],
            draw.pick(TAKE_VERBS),
            self.objects[object]
        ))
    }

    fn put_down(&self, draw: &mut Draw, world: &mut World) -> Option<String> {
        let (person, object) = pick_any(draw, &world.held())?;
        world.objects[object] = Whereabouts::LyingAt {
            place: world.place_of[person]?,
            left_by: person,
        };
        Some(format!(
            "{} {} the {}.",
            self.people[person],
            draw.pick(DROP_VERBS),
            self.objects[object]
        ))
    }

    fn hand_over(&self, draw: &mut Draw, world: &mut World) -> Option<String> {
        let mut chances = Vec::new();
        for (giver, object) in world.held() {
            for taker in world.placed() {
                let together = taker != giver && world.place_of[taker] == world.place_of[giver];
                if together && world.carried_by(taker).is_none() {
                    chances.push((giver, object, taker));
                }
            }
        }
        let (giver, object, taker) = pick_any(draw, &chances)?;
        world.objects[object] = Whereabouts::HeldBy(taker);
        let verb = draw.pick(GIVE_VERBS);
        Some(format!(
            "{} {verb} the {} to {}.",
            self.people[giver], self.objects[object], self.people[taker]
        ))
    }

    fn idle(&self, draw: &mut Draw, world: &World) -> Option<String> {
        let person = pick_any(draw, &world.placed())?;
        Some(format!("{} {}.", self.people[person], draw.pick(IDLE_VERBS)))
    }

    fn talk(&self, draw: &mut Draw, world: &World) -> Option<String> {
        let person = pick_any(draw, &world.placed())?;
        Some(format!(
            "{} talked about the {}.",
            self.people[person],
            draw.pick(&self.places)
        ))
    }
}

impl World {
    fn placed(&self) -> Vec<usize> {
        (0..self.place_of.len())
            .filter(|&person| self.place_of[person].is_some())
            .collect()
    }

    fn seen(&self) -> Vec<usize> {
        (0..self.objects.len())
            .filter(|&object| self.objects[object] != Whereabouts::Unseen)
            .collect()
    }

    /// Pairs of a person and the object in that person's hands.
    fn held(&self) -> Vec<(usize, usize)> {
        let holder = |(object, whereabouts): (usize, &Whereabouts)| match whereabouts {
            Whereabouts::HeldBy(person) => Some((*person, object)),
            _ => None,
        };
        self.objects.iter().enumerate().filter_map(holder).collect()
    }

    fn carried_by(&self, person: usize) -> Option<usize> {
        self.objects
            .iter()
            .position(|&whereabouts| whereabouts == Whereabouts::HeldBy(person))
    }
}

fn pick_any<T: Copy>(draw: &mut Draw, choices: &[T]) -> Option<T> {
    (!choices.is_empty()).then(|| draw.pick(choices))
}

/// Lists the turns of phrase of stories and questions that a tokenizer may take as one token each.
///
/// With them most sentences are four tokens, so that small models train on short sequences. The order is
/// fixed.
pub fn phrases() -> Vec<String> {
    let with = |verbs: &[&str], rest: &str| -> Vec<String> {
        verbs.iter().map(|verb| format!("{verb} {rest}")).collect()
    };
    let mut phrases = vec![
        "Where is the".to_owned(),
        "Where is".to_owned(),
        "Who has the".to_owned(),
    ];
    phrases.extend(with(MOVE_VERBS, "to the"));
    for verbs in [TAKE_VERBS, DROP_VERBS, GIVE_VERBS] {
        phrases.extend(with(verbs, "the"));
    }
    phrases.push("talked about the".to_owned());
    phrases
}

/// Lists every word and mark that is left of stories, questions and answers beside [`phrases`].
///
/// A word-level tokenizer needs no more than these. The order is fixed.
pub fn words() -> Vec<&'static str> {
    [&[".", "?", "to", NOBODY], PEOPLE, PLACES, OBJECTS, IDLE_VERBS].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Purpose;

    const FULL: Profile = Profile {
        people: 4,
        places: 6,
        objects: 2,
        sentences_min: 12,
        sentences_max: 12,
        exchange: true,
        distraction: true,
    };

    /// Reads the sentences word by word, as a person would, and answers where `name` is.
    fn read_place_of_person(sentences: &[String], name: &str) -> Option<String> {
        let mut place = None;
        for sentence in sentences {
            let words: Vec<&str> = sentence.trim_end_matches('.').split(' ').collect();
            if words[0] == name && MOVE_VERBS.contains(&words[1]) {
                place = Some(words[4].to_owned());
            }
        }
        place
    }

    #[test]
    fn an_independent_reading_agrees_on_where_people_are() {
        for seed in 0..100u8 {
            let mut draw = Draw::new([seed; 32], Purpose::Item);
            let story = Story::tell(&mut draw, &FULL);
            for count in 1..=story.sentences().len() {
                let question = story
                    .question(&mut draw, count, Kind::Person)
                    .expect("somebody is placed");
                let name = question
                    .text
                    .trim_start_matches("Where is ")
                    .trim_end_matches('?');
                let read = read_place_of_person(&story.sentences()[..count], name);
                assert_eq!(read.as_deref(), Some(question.answer), "{:?}", story.sentences());
            }
        }
    }

    #[test]
    fn nobody_carries_two_things_and_holders_are_somewhere() {
        for seed in 0..100u8 {
            let story = Story::tell(&mut Draw::new([seed; 32], Purpose::Item), &FULL);
            for world in &story.worlds {
                let held = world.held();
                assert!(held.iter().all(|(person, _)| world.place_of[*person].is_some()));
                assert!(
                    held.iter()
                        .all(|(person, object)| world.carried_by(*person) == Some(*object))
                );
            }
        }
    }

    #[test]
    fn phrases_and_words_make_up_every_story() {
        let known = words();
        for seed in 0..100u8 {
            let mut draw = Draw::new([seed; 32], Purpose::Item);
            let story = Story::tell(&mut draw, &FULL);
            let mut text = story.sentences().join(" ");
            for kind in Kind::ALL {
                if let Some(question) = story.question(&mut draw, 12, kind) {
                    text = format!("{text} {} {}", question.text, question.answer);
                }
            }
            // Longest first, as a tokenizer does.
            for phrase in phrases() {
                text = text.replace(&phrase, " ");
            }
            for word in text.replace('.', " . ").replace('?', " ? ").split_whitespace() {
                assert!(known.contains(&word), "{word}");
            }
        }
    }

    #[test]
    fn there_is_no_question_before_the_first_sentence_or_after_the_last() {
        let mut draw = Draw::new([9; 32], Purpose::Item);
        let story = Story::tell(&mut draw, &FULL);
        assert_eq!(story.question(&mut draw, 0, Kind::Person), None);
        assert_eq!(story.question(&mut draw, 13, Kind::Person), None);
    }
}
