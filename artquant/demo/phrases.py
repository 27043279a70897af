"""The closed vocabulary of the demo descriptions: phrases by attribute and grade.

Each attribute has five grades, from the weakest to the strongest, with a few wordings each. No phrase holds a rating
word or a digit: the words say what is seen, understood or felt, and never what score it earned.
"""

from __future__ import annotations

from artquant.texts.prompt import SUBJECT
from artquant.texts.questions import Questions

GRADES = 5
_WORDINGS = Questions()

SUBJECTS = {
    "landscape": ("A landscape with a house, trees and hills.", "Hills, a house and trees under a wide sky."),
    "seascape": ("A seascape with sailing boats on the water.", "The sea with a large boat and smaller boats."),
    "still life": ("A still life with a vase, flowers and fruit.", "A table with a vase, bottles and fruit."),
    "abstract": ("An abstract picture of discs, a bar and tiles.", "Discs and tiles around one large disc."),
    "night sky": ("A night sky with stars above a tower and houses.", "Stars and a moon above a tower and a village."),
    "town": ("A town with a street, houses and a tower.", "A street with houses leads to a tower."),
}

MAIN_FORMS = {
    "landscape": "house",
    "seascape": "boat",
    "still life": "vase",
    "abstract": "disc",
    "night sky": "tower",
    "town": "tower",
}

HUES = ("red", "orange", "yellow", "green", "green", "teal", "teal", "blue", "blue", "violet", "violet", "pink")

FEATURES = {
    "border": "a painted border",
    "rings": "rings around the light",
    "arcs": "wide arcs of colour",
    "petals": "drifting petals",
    "veins": "golden lines that run through it",
}

# {form} the main form, {side} where it stands, {light} where the light comes from, {hue} and {accent} the colours,
# {feature} the unusual element, {mood} the mood.
PHRASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Layout and composition": (
        (
            "The {form} is pushed into a tilted corner.",
            "The {form} is cut off and the ground tips.",
        ),
        ("The {form} sits at the edge and the view leans.", "The weight falls to one side and the ground leans."),
        ("The {form} stands off balance on the {side}.", "The {form} on the {side} leaves an uneven space."),
        ("The {form} stands on the {side} with some balance.", "The {form} on the {side} is nearly balanced."),
        ("The {form} rests on the {side} third in full balance.", "The {form} on the {side} third balances the view."),
    ),
    "Space and perspective": (
        ("Space is flat, without any depth.", "There is no depth, only one flat plane."),
        ("Space is nearly flat, with little depth.", "One or two planes give little depth."),
        ("A few layers suggest some depth.", "Some layers step back into space."),
        ("Several layers lead back into space.", "Layers grow smaller and give clear depth."),
        ("Many layers fade into haze and deep space.", "Deep space opens through many hazy layers."),
    ),
    "Light and shadow": (
        ("Light is washed out, without shadows.", "A grey veil hides all light and shadow."),
        ("Light is pale and shadows are faint.", "Weak, grey light leaves faint shadows."),
        ("Light from the {light} gives soft shadows.", "Soft light from the {light} shapes some forms."),
        ("Clear light from the {light} shapes the forms.", "Light from the {light} casts clear shadows."),
        (
            "Strong light from the {light} casts deep shadows.",
            "Glowing light from the {light} models every form.",
        ),
    ),
    "Color": (
        ("Colours clash at random, glaring or muddy.", "Random glaring and muddy colours fight each other."),
        ("Many colours clash around the {hue}.", "The {hue} is disturbed by clashing colours."),
        ("Mixed colours surround the {hue}.", "The {hue} mixes with some stray colours."),
        ("Mostly related {hue} tones meet {accent}.", "Related {hue} tones and some {accent} agree."),
        (
            "Related {hue} tones and {accent} accents are in harmony.",
            "Harmony of {hue} tones, lifted by {accent} accents.",
        ),
    ),
    "Details and texture": (
        ("Surfaces are blurred, with bare paper at the edges.", "Empty fills and bare paper show no detail."),
        ("Surfaces are smooth, with little detail.", "Flat fills show little texture."),
        ("Light brush marks give some texture.", "Some brush strokes show on the surface."),
        ("Visible brush strokes enrich the surface.", "Clear strokes give the surface texture."),
        ("Rich brush strokes flow over every surface.", "Dense flowing strokes make a rich texture."),
    ),
    "The sense of order": (
        ("Forms are scattered in chaos.", "Forms tumble about without any order."),
        ("Forms are uneven and turned at random.", "Sizes and gaps are uneven."),
        ("Forms follow a loose row.", "The row of forms is loose."),
        ("Forms repeat in a nearly even rhythm.", "Forms line up in a steady row."),
        ("Forms repeat in an even, exact rhythm.", "Even gaps and sizes make an exact rhythm."),
    ),
    "Theme and logic": (
        ("Many foreign signs break the theme and nothing fits.", "The theme is lost among many foreign signs."),
        ("Several foreign signs disturb the theme.", "The theme is disturbed by several signs that do not fit."),
        ("The theme can be read, with a foreign sign in it.", "One or two things do not fit the theme."),
        ("The parts belong together and the theme is clear.", "The theme is clear and nothing foreign intrudes."),
        ("All parts serve one theme with full logic.", "One theme joins every part with clear logic."),
    ),
    "Creativity": (
        ("The idea is plain and offers nothing new.", "Nothing unusual is tried."),
        ("The idea is common, with nothing of its own.", "The picture keeps to a common idea."),
        ("The idea is familiar, with a small turn.", "A familiar idea is changed a little."),
        ("The picture adds {feature}, a fresh idea.", "A fresh idea appears in {feature}."),
        ("With {feature} the picture finds a bold idea of its own.", "The bold idea of {feature} makes it original."),
    ),
    "The overall": (
        ("The parts fall apart and say little.", "As a whole it does not hold together."),
        ("The whole is weak and hard to read.", "The parts hardly come together."),
        ("The whole holds together in part.", "The parts come together here and there."),
        ("The whole is convincing and easy to read.", "The parts come together well."),
        ("The whole is complete and masterly.", "Every part completes a masterly whole."),
    ),
    "Mood": (
        ("It feels empty and leaves one indifferent.", "No feeling reaches the viewer."),
        ("Only a faint feeling comes through.", "The feeling is vague and soon lost."),
        ("A {mood} note can be felt, but it stays light.", "Some {mood} feeling comes through."),
        ("A {mood} mood fills most of the picture.", "The tones carry a clear {mood} mood."),
        (
            "A strong {mood} mood fills the picture and moves the viewer.",
            "The deep {mood} mood stays with the viewer.",
        ),
    ),
}

ENDINGS = (
    ("One turns away untouched.", "One looks away soon."),
    ("One looks for a moment only.", "It hardly holds the eye."),
    ("It holds the eye for a while.", "One looks with some interest."),
    ("One likes to stay with it.", "It invites one to stay."),
    ("One is deeply touched and wants to return.", "It gives lasting joy to the eye."),
)

# What a caption says of what is there, in any order behind the subject; what things look like, and no judgement.
CAPTIONS = {
    "side": ("The {form} is on the {side}.", "On the {side} is the {form}.", "One sees the {form} on the {side}."),
    "light": ("The light comes from the {light}.", "It is lit from the {light}.", "There is light from the {light}."),
    "hue": (
        "The tones are {hue} and {accent}.",
        "It is painted in {hue} and {accent}.",
        "One sees {hue} and {accent}.",
    ),
    "feature": ("It shows {feature}.", "One sees {feature}.", "The painter added {feature}."),
    "mood": ("The mood is {mood}.", "It is a {mood} picture.", "One feels a {mood} mood."),
}

# Attributes by level of the description (ArtQuant, section 3.1: perception, cognition, emotion).
LEVELS = (
    (
        "Layout and composition",
        "Space and perspective",
        "Light and shadow",
        "Color",
        "Details and texture",
        "The sense of order",
    ),
    ("Theme and logic", "Creativity", "The overall"),
    ("Mood",),
)

# By level, as training on real pictures asks them.
QUESTIONS = tuple(
    tuple(wording.replace(SUBJECT, "painting") for wording in wordings)
    for wordings in (_WORDINGS.level_1, _WORDINGS.level_2, _WORDINGS.level_3)
)
CAPTION_QUESTION = "What is there in this painting?"
