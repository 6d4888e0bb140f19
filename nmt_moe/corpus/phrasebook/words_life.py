"""Words about people, health and leisure, written by hand; the rows are as in ``words``."""

from __future__ import annotations

from nmt_moe.corpus.phrasebook.words import Noun, Phrase

FAMILY: list[Noun] = [
    ("brother", "m", "Bruder", "m", "frère"),
    ("sister", "f", "Schwester", "f", "sœur"),
    ("father", "m", "Vater", "m", "père"),
    ("mother", "f", "Mutter", "f", "mère"),
    ("son", "m", "Sohn", "m", "fils"),
    ("daughter", "f", "Tochter", "f", "fille"),
    ("uncle", "m", "Onkel", "m", "oncle"),
    ("aunt", "f", "Tante", "f", "tante"),
    ("grandmother", "f", "Großmutter", "f", "grand-mère"),
    ("grandfather", "m", "Großvater", "m", "grand-père"),
    ("husband", "m", "Mann", "m", "mari"),
    ("wife", "f", "Frau", "f", "femme"),
]

BODY: list[Noun] = [
    ("head", "m", "Kopf", "f", "tête"),
    ("back", "m", "Rücken", "m", "dos"),
    ("neck", "m", "Nacken", "m", "cou"),
    ("stomach", "m", "Bauch", "m", "ventre"),
    ("knee", "n", "Knie", "m", "genou"),
    ("arm", "m", "Arm", "m", "bras"),
    ("foot", "m", "Fuß", "m", "pied"),
    ("hand", "f", "Hand", "f", "main"),
    ("shoulder", "f", "Schulter", "f", "épaule"),
    ("leg", "n", "Bein", "f", "jambe"),
    ("finger", "m", "Finger", "m", "doigt"),
    ("ankle", "m", "Knöchel", "f", "cheville"),
    ("elbow", "m", "Ellbogen", "m", "coude"),
    ("hip", "f", "Hüfte", "f", "hanche"),
]

DOCTORS: list[Noun] = [
    ("doctor", "m", "Arzt", "m", "médecin"),
    ("dentist", "m", "Zahnarzt", "m", "dentiste"),
    ("eye doctor", "m", "Augenarzt", "m", "ophtalmologue"),
    ("pediatrician", "m", "Kinderarzt", "m", "pédiatre"),
    ("dermatologist", "m", "Hautarzt", "m", "dermatologue"),
    ("veterinarian", "m", "Tierarzt", "m", "vétérinaire"),
]

REMEDIES: list[Noun] = [
    ("cough syrup", "m", "Hustensaft", "m", "sirop contre la toux"),
    ("ointment", "f", "Salbe", "f", "pommade"),
    ("painkiller", "n", "Schmerzmittel", "m", "antidouleur"),
    ("bandage", "m", "Verband", "m", "pansement"),
    ("thermometer", "n", "Thermometer", "m", "thermomètre"),
    ("nasal spray", "n", "Nasenspray", "m", "spray nasal"),
    ("sleeping pill", "f", "Schlaftablette", "m", "somnifère"),
    ("hot-water bottle", "f", "Wärmflasche", "f", "bouillotte"),
]

# After "Ich habe" and "J'ai".
SYMPTOMS: list[Phrase] = [
    ("a headache", "Kopfschmerzen", "mal à la tête"),
    ("a fever", "Fieber", "de la fièvre"),
    ("a cold", "eine Erkältung", "un rhume"),
    ("the flu", "die Grippe", "la grippe"),
    ("a stomachache", "Bauchschmerzen", "mal au ventre"),
    ("a toothache", "Zahnschmerzen", "mal aux dents"),
    ("a sore throat", "Halsschmerzen", "mal à la gorge"),
    ("an earache", "Ohrenschmerzen", "mal aux oreilles"),
    ("a rash", "einen Ausschlag", "une éruption cutanée"),
    ("an infection", "eine Infektion", "une infection"),
]

# After "allergic to", "allergisch gegen", "une allergie": French takes "à" and an article.
ALLERGENS: list[Phrase] = [
    ("nuts", "Nüsse", "aux noix"),
    ("milk", "Milch", "au lait"),
    ("eggs", "Eier", "aux œufs"),
    ("fish", "Fisch", "au poisson"),
    ("soy", "Soja", "au soja"),
    ("penicillin", "Penicillin", "à la pénicilline"),
    ("cats", "Katzen", "aux chats"),
    ("dogs", "Hunde", "aux chiens"),
    ("pollen", "Pollen", "au pollen"),
    ("aspirin", "Aspirin", "à l'aspirine"),
    ("celery", "Sellerie", "au céleri"),
]

HOBBIES: list[Phrase] = [
    ("swim", "schwimmen", "nager"),
    ("cook", "kochen", "cuisiner"),
    ("dance", "tanzen", "danser"),
    ("sing", "singen", "chanter"),
    ("paint", "malen", "peindre"),
    ("ski", "Ski fahren", "faire du ski"),
    ("play tennis", "Tennis spielen", "jouer au tennis"),
    ("play chess", "Schach spielen", "jouer aux échecs"),
    ("play the piano", "Klavier spielen", "jouer du piano"),
    ("play the guitar", "Gitarre spielen", "jouer de la guitare"),
    ("ride a bike", "Fahrrad fahren", "faire du vélo"),
    ("sail", "segeln", "faire de la voile"),
]

WEATHER: list[Phrase] = [
    ("rain", "regnen", "pleuvoir"),
    ("snow", "schneien", "neiger"),
    ("be cold", "kalt sein", "faire froid"),
    ("be warm", "warm sein", "faire chaud"),
    ("be sunny", "sonnig sein", "y avoir du soleil"),
    ("be windy", "windig sein", "y avoir du vent"),
    ("be cloudy", "bewölkt sein", "y avoir des nuages"),
    ("be foggy", "neblig sein", "y avoir du brouillard"),
]

FIRST_NAMES = (
    "Anna Paul Laura Thomas Julia Martin Sophie Daniel Emma Lucas Clara David Maria Simon Eva "
    "Max Nina Robert Alice Victor"
).split()

SURNAMES = (
    "Weber Martin Schmidt Dubois Keller Moreau Fischer Bernard Smith Brown Rossi Garcia".split()
)
