"""Words of travel, town and office, written by hand in the three languages.

Nouns are rows of English; German gender and noun; French gender and noun. Only nouns whose German
singular is the same in every case but the genitive are listed, because no form adds an ending.
"""

from __future__ import annotations

Noun = tuple[str, str, str, str, str]
Phrase = tuple[str, str, str]

PLACES: list[Noun] = [
    ("train station", "m", "Bahnhof", "f", "gare"),
    ("airport", "m", "Flughafen", "m", "aéroport"),
    ("museum", "n", "Museum", "m", "musée"),
    ("pharmacy", "f", "Apotheke", "f", "pharmacie"),
    ("bank", "f", "Bank", "f", "banque"),
    ("post office", "f", "Post", "f", "poste"),
    ("hospital", "n", "Krankenhaus", "m", "hôpital"),
    ("market", "m", "Markt", "m", "marché"),
    ("supermarket", "m", "Supermarkt", "m", "supermarché"),
    ("theater", "n", "Theater", "m", "théâtre"),
    ("cathedral", "f", "Kathedrale", "f", "cathédrale"),
    ("park", "m", "Park", "m", "parc"),
    ("library", "f", "Bibliothek", "f", "bibliothèque"),
    ("church", "f", "Kirche", "f", "église"),
    ("castle", "n", "Schloss", "m", "château"),
    ("harbor", "m", "Hafen", "m", "port"),
    ("university", "f", "Universität", "f", "université"),
    ("swimming pool", "n", "Schwimmbad", "f", "piscine"),
    ("bakery", "f", "Bäckerei", "f", "boulangerie"),
    ("town hall", "n", "Rathaus", "f", "mairie"),
    ("bus stop", "f", "Bushaltestelle", "m", "arrêt de bus"),
    ("police station", "f", "Polizeiwache", "m", "commissariat"),
    ("embassy", "f", "Botschaft", "f", "ambassade"),
    ("parking garage", "n", "Parkhaus", "m", "parking"),
    ("city center", "n", "Stadtzentrum", "m", "centre-ville"),
    ("beach", "m", "Strand", "f", "plage"),
    ("zoo", "m", "Zoo", "m", "zoo"),
    ("movie theater", "n", "Kino", "m", "cinéma"),
    ("tourist office", "f", "Touristeninformation", "m", "office de tourisme"),
]

# Places without opening hours, or that nobody built.
ALWAYS_OPEN = (
    "train station", "airport", "hospital", "park", "church", "harbor", "university", "bus stop",
    "police station", "parking garage", "city center", "beach", "market",
)  # fmt: skip

TRANSPORT: list[Noun] = [
    ("train", "m", "Zug", "m", "train"),
    ("bus", "m", "Bus", "m", "bus"),
    ("flight", "m", "Flug", "m", "vol"),
    ("express train", "m", "Schnellzug", "m", "train express"),
]

ROOMS: list[Noun] = [
    ("single room", "n", "Einzelzimmer", "f", "chambre simple"),
    ("double room", "n", "Doppelzimmer", "f", "chambre double"),
    ("family room", "n", "Familienzimmer", "f", "chambre familiale"),
    ("twin room", "n", "Zweibettzimmer", "f", "chambre à deux lits"),
    ("triple room", "n", "Dreibettzimmer", "f", "chambre triple"),
    ("suite", "f", "Suite", "f", "suite"),
    ("apartment", "n", "Apartment", "m", "appartement"),
]

AMENITIES: list[Noun] = [
    ("towel", "n", "Handtuch", "f", "serviette"),
    ("pillow", "n", "Kissen", "m", "oreiller"),
    ("blanket", "f", "Decke", "f", "couverture"),
    ("hair dryer", "m", "Föhn", "m", "sèche-cheveux"),
    ("iron", "n", "Bügeleisen", "m", "fer à repasser"),
    ("key", "m", "Schlüssel", "f", "clé"),
    ("chair", "m", "Stuhl", "f", "chaise"),
    ("toothbrush", "f", "Zahnbürste", "f", "brosse à dents"),
    ("adapter", "m", "Adapter", "m", "adaptateur"),
    ("bathrobe", "m", "Bademantel", "m", "peignoir"),
    ("corkscrew", "m", "Korkenzieher", "m", "tire-bouchon"),
    ("city map", "m", "Stadtplan", "m", "plan de la ville"),
]

FIXTURES: list[Noun] = [
    ("shower", "f", "Dusche", "f", "douche"),
    ("heating", "f", "Heizung", "m", "chauffage"),
    ("television", "m", "Fernseher", "m", "téléviseur"),
    ("lamp", "f", "Lampe", "f", "lampe"),
    ("air conditioning", "f", "Klimaanlage", "f", "climatisation"),
    ("safe", "m", "Safe", "m", "coffre-fort"),
    ("telephone", "n", "Telefon", "m", "téléphone"),
    ("refrigerator", "m", "Kühlschrank", "m", "réfrigérateur"),
    ("radio", "n", "Radio", "f", "radio"),
    ("elevator", "m", "Aufzug", "m", "ascenseur"),
]

DISHES: list[Noun] = [
    ("soup", "f", "Suppe", "f", "soupe"),
    ("salad", "m", "Salat", "f", "salade"),
    ("sandwich", "n", "Sandwich", "m", "sandwich"),
    ("pizza", "f", "Pizza", "f", "pizza"),
    ("omelet", "n", "Omelett", "f", "omelette"),
    ("hamburger", "m", "Hamburger", "m", "hamburger"),
    ("steak", "n", "Steak", "m", "steak"),
    ("cheese plate", "f", "Käseplatte", "f", "assiette de fromages"),
    ("croissant", "n", "Croissant", "m", "croissant"),
    ("piece of cake", "n", "Stück Kuchen", "f", "part de gâteau"),
    ("fruit salad", "m", "Obstsalat", "f", "salade de fruits"),
    ("chocolate mousse", "f", "Mousse au Chocolat", "f", "mousse au chocolat"),
    ("quiche", "f", "Quiche", "f", "quiche"),
    ("pancake", "m", "Pfannkuchen", "f", "crêpe"),
]

DRINKS: list[Noun] = [
    ("coffee", "m", "Kaffee", "m", "café"),
    ("tea", "m", "Tee", "m", "thé"),
    ("beer", "n", "Bier", "f", "bière"),
    ("glass of water", "n", "Glas Wasser", "m", "verre d'eau"),
    ("apple juice", "m", "Apfelsaft", "m", "jus de pomme"),
    ("orange juice", "m", "Orangensaft", "m", "jus d'orange"),
    ("hot chocolate", "m", "Kakao", "m", "chocolat chaud"),
    ("lemonade", "f", "Limonade", "f", "limonade"),
    ("mineral water", "n", "Mineralwasser", "f", "eau minérale"),
    ("bottle of wine", "f", "Flasche Wein", "f", "bouteille de vin"),
    ("tomato juice", "m", "Tomatensaft", "m", "jus de tomate"),
    ("espresso", "m", "Espresso", "m", "expresso"),
]

CLOTHES: list[Noun] = [
    ("shirt", "n", "Hemd", "f", "chemise"),
    ("dress", "n", "Kleid", "f", "robe"),
    ("skirt", "m", "Rock", "f", "jupe"),
    ("jacket", "f", "Jacke", "f", "veste"),
    ("coat", "m", "Mantel", "m", "manteau"),
    ("sweater", "m", "Pullover", "m", "pull"),
    ("hat", "m", "Hut", "m", "chapeau"),
    ("scarf", "m", "Schal", "f", "écharpe"),
    ("bag", "f", "Tasche", "m", "sac"),
    ("tie", "f", "Krawatte", "f", "cravate"),
    ("umbrella", "m", "Regenschirm", "m", "parapluie"),
    ("cap", "f", "Mütze", "f", "casquette"),
    ("backpack", "m", "Rucksack", "m", "sac à dos"),
    ("belt", "m", "Gürtel", "f", "ceinture"),
    ("suitcase", "m", "Koffer", "f", "valise"),
]

# English, German stem, French masculine and feminine.
COLOURS: list[tuple[str, str, str, str]] = [
    ("red", "rot", "rouge", "rouge"),
    ("blue", "blau", "bleu", "bleue"),
    ("green", "grün", "vert", "verte"),
    ("black", "schwarz", "noir", "noire"),
    ("white", "weiß", "blanc", "blanche"),
    ("gray", "grau", "gris", "grise"),
    ("yellow", "gelb", "jaune", "jaune"),
    ("brown", "braun", "marron", "marron"),
]

PAPERS: list[Noun] = [
    ("report", "m", "Bericht", "m", "rapport"),
    ("contract", "m", "Vertrag", "m", "contrat"),
    ("invoice", "f", "Rechnung", "f", "facture"),
    ("letter", "m", "Brief", "f", "lettre"),
    ("offer", "n", "Angebot", "f", "offre"),
    ("presentation", "f", "Präsentation", "f", "présentation"),
    ("form", "n", "Formular", "m", "formulaire"),
    ("list", "f", "Liste", "f", "liste"),
    ("order", "f", "Bestellung", "f", "commande"),
    ("draft", "m", "Entwurf", "m", "brouillon"),
    ("catalog", "m", "Katalog", "m", "catalogue"),
    ("certificate", "f", "Bescheinigung", "f", "attestation"),
    ("translation", "f", "Übersetzung", "f", "traduction"),
    ("summary", "f", "Zusammenfassung", "m", "résumé"),
    ("plan", "m", "Plan", "m", "plan"),
]

DEVICES: list[Noun] = [
    ("printer", "m", "Drucker", "f", "imprimante"),
    ("computer", "m", "Computer", "m", "ordinateur"),
    ("screen", "m", "Bildschirm", "m", "écran"),
    ("keyboard", "f", "Tastatur", "m", "clavier"),
    ("projector", "m", "Projektor", "m", "projecteur"),
    ("copier", "m", "Kopierer", "f", "photocopieuse"),
    ("scanner", "m", "Scanner", "m", "scanner"),
    ("coffee machine", "f", "Kaffeemaschine", "f", "machine à café"),
    ("mouse", "f", "Maus", "f", "souris"),
    ("laptop", "m", "Laptop", "m", "ordinateur portable"),
    ("microphone", "n", "Mikrofon", "m", "micro"),
    ("loudspeaker", "m", "Lautsprecher", "m", "haut-parleur"),
]

VIEWS: list[Phrase] = [
    ("the sea", "das Meer", "la mer"),
    ("the mountains", "die Berge", "les montagnes"),
    ("the lake", "den See", "le lac"),
    ("the garden", "den Garten", "le jardin"),
    ("the city", "die Stadt", "la ville"),
    ("the river", "den Fluss", "la rivière"),
    ("the harbor", "den Hafen", "le port"),
    ("the castle", "das Schloss", "le château"),
    ("the park", "den Park", "le parc"),
]

VEHICLES: list[Phrase] = [
    ("by train", "mit dem Zug", "en train"),
    ("by bus", "mit dem Bus", "en bus"),
    ("by car", "mit dem Auto", "en voiture"),
    ("by plane", "mit dem Flugzeug", "en avion"),
    ("by bike", "mit dem Fahrrad", "à vélo"),
    ("by taxi", "mit dem Taxi", "en taxi"),
]

GROCERIES: list[Phrase] = [
    ("apples", "Äpfel", "pommes"),
    ("oranges", "Orangen", "oranges"),
    ("tomatoes", "Tomaten", "tomates"),
    ("potatoes", "Kartoffeln", "pommes de terre"),
    ("cheese", "Käse", "fromage"),
    ("rice", "Reis", "riz"),
    ("sugar", "Zucker", "sucre"),
    ("flour", "Mehl", "farine"),
    ("cherries", "Kirschen", "cerises"),
    ("onions", "Zwiebeln", "oignons"),
    ("carrots", "Karotten", "carottes"),
    ("grapes", "Trauben", "raisin"),
    ("ham", "Schinken", "jambon"),
    ("butter", "Butter", "beurre"),
]

LIQUIDS: list[Phrase] = [
    ("milk", "Milch", "lait"),
    ("water", "Wasser", "eau"),
    ("olive oil", "Olivenöl", "huile d'olive"),
    ("red wine", "Rotwein", "vin rouge"),
    ("white wine", "Weißwein", "vin blanc"),
    ("apple juice", "Apfelsaft", "jus de pomme"),
    ("orange juice", "Orangensaft", "jus d'orange"),
    ("vinegar", "Essig", "vinaigre"),
]

CITIES: list[Phrase] = [
    ("Berlin", "Berlin", "Berlin"),
    ("Paris", "Paris", "Paris"),
    ("London", "London", "Londres"),
    ("Vienna", "Wien", "Vienne"),
    ("Munich", "München", "Munich"),
    ("Cologne", "Köln", "Cologne"),
    ("Geneva", "Genf", "Genève"),
    ("Zurich", "Zürich", "Zurich"),
    ("Brussels", "Brüssel", "Bruxelles"),
    ("Rome", "Rom", "Rome"),
    ("Milan", "Mailand", "Milan"),
    ("Venice", "Venedig", "Venise"),
    ("Florence", "Florenz", "Florence"),
    ("Lisbon", "Lissabon", "Lisbonne"),
    ("Prague", "Prag", "Prague"),
    ("Warsaw", "Warschau", "Varsovie"),
    ("Budapest", "Budapest", "Budapest"),
    ("Athens", "Athen", "Athènes"),
    ("Copenhagen", "Kopenhagen", "Copenhague"),
    ("Stockholm", "Stockholm", "Stockholm"),
    ("Oslo", "Oslo", "Oslo"),
    ("Helsinki", "Helsinki", "Helsinki"),
    ("Dublin", "Dublin", "Dublin"),
    ("Madrid", "Madrid", "Madrid"),
    ("Barcelona", "Barcelona", "Barcelone"),
    ("Lyon", "Lyon", "Lyon"),
    ("Strasbourg", "Straßburg", "Strasbourg"),
    ("Hamburg", "Hamburg", "Hambourg"),
    ("Amsterdam", "Amsterdam", "Amsterdam"),
    ("Edinburgh", "Edinburgh", "Édimbourg"),
    ("Basel", "Basel", "Bâle"),
    ("Naples", "Neapel", "Naples"),
]
