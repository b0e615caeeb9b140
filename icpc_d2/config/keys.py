"""Every configuration key of the project, its default, and the equation or table that it comes from.

Detectron2's own keys keep their names and meanings; where the paper's recipe differs from Detectron2's default,
the difference stands in ``configs/common/``. ``tests/test_layout.py`` checks that each key added here is read.
"""

from detectron2.config import CfgNode as CN


def add_icpc_config(cfg: CN) -> None:
    """Add the keys of ICPC to a Detectron2 config, in place."""
    # Names of the classes, as the prompts say them. Empty: from the metadata of DATASETS.TRAIN[0]
    # (`prompt_classes`, else `stuff_classes`). Filled in when training starts, so that a merged config is complete.
    cfg.MODEL.CLASS_NAMES = []
    # Further names of each class, a list for each in the order of the classes: [[], ["ship", "vessel"]]. The text
    # embeddings of all names of a class are averaged. Empty: those of the same metadata (`prompt_synonyms`), or beside
    # MODEL.CLASS_NAMES none.
    cfg.MODEL.CLASS_SYNONYMS = []
    # Fine-tune to other classes: MODEL.WEIGHTS is a checkpoint of ours whose classes are others than the data's. What
    # depends on the classes is carried over by their names, and starts anew for those that the checkpoint lacks. A
    # resumed training and an evaluation do not look at it: their checkpoints have the config's classes.
    cfg.MODEL.NEW_CLASSES = False
    # How much a pixel of each class counts in L_seg and L_align, as in torch's cross_entropy(weight=...): a number for
    # each class; or "median_frequency", the median of the classes' frequencies divided by the class's own (Eigen and
    # Fergus, 2015), found from all training labels when training starts. Empty: all pixels count alike. What repeats
    # images of rare classes: DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler with DATALOADER.REPEAT_THRESHOLD.
    cfg.MODEL.CLASS_WEIGHTS = []
    # Colours of the classes in images of predictions, "#4682b4" each. Empty: those of the metadata of DATASETS.TRAIN[0]
    # (classes.txt). Filled in when training starts.
    cfg.MODEL.CLASS_COLORS = []
    # Number of classes; 0: the number of class names. Nobody has to type it; a number that disagrees is an error.
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 0
    # Dropout2d before the classifier of Semantic FPN.
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.1
    # How FPN and Semantic FPN head start. "detectron2": FPN by Xavier, the classifier normal with a standard deviation
    # of 0.01. "denseclip": what is left where DenseCLIP's training never calls mmsegmentation's `init_weights`: FPN
    # normal as mmcv's ConvModule (variance 2 / fan out), the classifier PyTorch's (uniform, with its bias).
    cfg.MODEL.DECODER_INIT = "detectron2"

    # --- Image and text encoder --------------------------------------------------------------------------------------
    cfg.MODEL.CLIP = CN()
    # An architecture of open_clip ("RN50-quickgelu") or one of icpc_d2/modeling/architectures/*.json ("tiny-RN").
    cfg.MODEL.CLIP.ARCH = "RN50-quickgelu"
    # Side of the square image, in pixels, that position embeddings are stored for, as DenseCLIP stores them for its
    # training size; other sizes are resized to at run time, other weights when they are loaded. 0: the architecture's.
    cfg.MODEL.CLIP.IMAGE_SIZE = 0
    # Outputs of the image encoder. Without the two embeddings their layers are not built.
    cfg.MODEL.CLIP.OUT_FEATURES = ["res2", "res3", "res4", "res5", "global_embed", "dense_embed"]
    # Vision transformer only: blocks (0-based) that give res2..res5 (empty: DenseCLIP's 3, 5, 7 and 11 of twelve, at
    # the same shares of the depth), stochastic depth of the last block, normalization inside the pyramid that brings
    # the blocks to strides 4, 8, 16, 32.
    cfg.MODEL.CLIP.VIT_BLOCKS = []
    cfg.MODEL.CLIP.VIT_DROP_PATH = 0.1
    cfg.MODEL.CLIP.VIT_NORM = "SyncBN"
    # CLIP's ResNets: "SyncBN", over the images of all processes, as DenseCLIP converts its whole backbone
    # (segmentation/train_denseclip.py); or "BN", of each process by itself.
    cfg.MODEL.CLIP.RESNET_NORM = "BN"
    # ImageNet ResNets: "deeplab" is ResNet-V1c with its stem of three 3x3 convolutions, "basic" the plain 7x7 stem.
    # These three keys are those of Detectron2's DeepLab project, which builds the network; here nothing is dilated.
    cfg.MODEL.RESNETS.STEM_TYPE = "deeplab"
    cfg.MODEL.RESNETS.RES4_DILATION = 1
    cfg.MODEL.RESNETS.RES5_MULTI_GRID = [1, 1, 1]
    # The bottom-up backbone of `build_fpn_backbone`, for Detectron2's own meta-architectures.
    cfg.MODEL.FPN.BOTTOM_UP = "build_clip_resnet_backbone"

    # --- Prompt, Eq. 2 and 3 -----------------------------------------------------------------------------------------
    cfg.MODEL.PROMPT = CN()
    # "template", "coop", "instance", "cocoop" or "icpc" (Tables 3 and 4).
    cfg.MODEL.PROMPT.NAME = "icpc"
    # N, learned context vectors V_1..V_N.
    cfg.MODEL.PROMPT.NUM_CONTEXT = 8
    # How V_1..V_N start: "coop", normal with a standard deviation of 0.02 as CoOp's, or "denseclip", normal with a
    # standard deviation of 1, cut off at 2 (`trunc_normal_` in segmentation/denseclip/denseclip.py).
    cfg.MODEL.PROMPT.CONTEXT_INIT = "coop"
    # Hidden width of the projector f_P is C / this; the paper says only "two linear layers".
    cfg.MODEL.PROMPT.PROJECTOR_REDUCTION = 16
    # Used by "template" alone.
    cfg.MODEL.PROMPT.TEMPLATE = "a photo of a {}."

    # --- Text encoder ------------------------------------------------------------------------------------------------
    cfg.MODEL.TEXT_ENCODER = CN()
    # MiB that the activations of a block of classes may take; more classes are encoded block by block. 0: all at once.
    cfg.MODEL.TEXT_ENCODER.MEMORY = 1024
    # Compute the activations of the class tokens again in backward instead of keeping them: for many classes.
    cfg.MODEL.TEXT_ENCODER.CHECKPOINT = False
    # CLIP's weights for the text encoder, where MODEL.WEIGHTS is of an ImageNet ResNet or empty (Table 10); what
    # MODEL.WEIGHTS holds of it wins. Read when a training starts.
    cfg.MODEL.TEXT_ENCODER.WEIGHTS = ""

    # --- Context decoder, Eq. 4 --------------------------------------------------------------------------------------
    cfg.MODEL.CONTEXT_DECODER = CN()
    cfg.MODEL.CONTEXT_DECODER.WIDTH = 256
    cfg.MODEL.CONTEXT_DECODER.NUM_HEADS = 4
    cfg.MODEL.CONTEXT_DECODER.NUM_LAYERS = 3
    cfg.MODEL.CONTEXT_DECODER.DROPOUT = 0.1
    # Initial value of lambda.
    cfg.MODEL.CONTEXT_DECODER.LAMBDA = 1e-4

    # --- Alignment, Eq. 5 and 8 --------------------------------------------------------------------------------------
    cfg.MODEL.ALIGNMENT = CN()
    # False: score map at the dense embedding's own stride alone, which is DenseCLIP (Table 8, "M.S.").
    cfg.MODEL.ALIGNMENT.MULTI_SCALE = True
    # Transposed convolutions start as "identity" over the channels (each class up-sampled to itself) or "random".
    cfg.MODEL.ALIGNMENT.INIT = "identity"
    # Score maps that L_align and L_contrast supervise; empty: the coarsest one.
    cfg.MODEL.ALIGNMENT.LOSS_SCALES = []
    # L_align (Eq. 9): weight, and temperature that the cosines are divided by.
    cfg.MODEL.ALIGNMENT.LOSS_WEIGHT = 0.4
    cfg.MODEL.ALIGNMENT.TEMPERATURE = 0.07

    # --- Contrastive loss, Eq. 6, 7 and 9 ----------------------------------------------------------------------------
    cfg.MODEL.CONTRASTIVE = CN()
    # gamma (Table 7); 0 switches the loss off (Table 8, "C.L.").
    cfg.MODEL.CONTRASTIVE.LOSS_WEIGHT = 0.5
    # tau.
    cfg.MODEL.CONTRASTIVE.TEMPERATURE = 0.1
    # |P|, points drawn of each class in a mini-batch (Table 6).
    cfg.MODEL.CONTRASTIVE.NUM_POINTS = 5
    # "easy_to_hard" or "random" (Table 5).
    cfg.MODEL.CONTRASTIVE.SAMPLING = "easy_to_hard"
    # L2-normalize the points first; Eq. 6 does not.
    cfg.MODEL.CONTRASTIVE.NORMALIZE = False
    # What the mini-batch of Eq. 6 is where several processes share a batch or SOLVER.ACCUMULATE cuts it. False: the
    # images of one process in one forward pass. True: the whole batch, exactly as if one process saw it at once; with
    # SOLVER.ACCUMULATE the encoders then run twice.
    cfg.MODEL.CONTRASTIVE.GATHER = False

    # The exact faster forms of modeling/fast/; False: the paper's own, as they stand in modeling/, which are there to
    # be read, counted and compared with. The parameters are the same, and so are the results up to rounding. The keys
    # of TEXT_ENCODER that bound memory are of the faster form.
    cfg.MODEL.FAST = True
    # Whether weights and maps lie in memory with the channels last, as convolutions on GPUs prefer in half precision.
    cfg.MODEL.CHANNELS_LAST = False
    # Parts of the model that torch.compile compiles, each as one graph: "backbone", "prompt", "text_encoder",
    # "context_decoder", "alignment", "neck", "sem_seg_head". "predict": in evaluations by sliding window all that leads
    # from a window to its logits, on a GPU as CUDA graphs. Read by trainings and evaluations, not by the Predictor.
    cfg.MODEL.COMPILE = []

    # What a trained model answers with: "decoder" or "alignment" (Table 11).
    cfg.MODEL.PREDICT_FROM = "decoder"

    # --- Data --------------------------------------------------------------------------------------------------------
    # Behind what their names share, images and label maps of the user's folders may have suffixes:
    # ["_leftImg8bit", "_gtFine_labelIds"]. Empty: none.
    cfg.DATASETS.SUFFIXES = []
    # What resizes images and labels, in training and wherever a model is asked: "pillow", with antialiasing as in
    # Detectron2, or "opencv", bilinear without, labels by nearest neighbour, as mmsegmentation for DenseCLIP.
    cfg.INPUT.RESIZE = "pillow"
    # Photometric distortion of the training images (Detectron2's ColorAugSSDTransform).
    cfg.INPUT.COLOR_AUG_SSD = True
    # Range of the random scale, as a factor on INPUT.MIN_SIZE_TRAIN[0] and INPUT.MAX_SIZE_TRAIN alike.
    cfg.INPUT.SCALE_RANGE = [0.5, 2.0]
    # A crop is drawn again while one class covers more than this share of its labelled pixels; 1: never.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    # Lowest and highest value of images with more than 8 bits, which become 0 and 255. Empty: by the type of 16-bit
    # files; 32-bit integers and floating-point numbers are then refused, since nothing says what white is.
    cfg.INPUT.VALUE_RANGE = []
    # A training sample that cannot be used (unreadable, ids out of range, sizes that differ) stops the training
    # ("raise"), or another one is drawn instead, which is counted and logged ("skip").
    cfg.INPUT.ON_BAD_FILE = "raise"

    # --- Training ----------------------------------------------------------------------------------------------------
    # "AdamW" or "SGD".
    cfg.SOLVER.OPTIMIZER = "AdamW"
    # Learning rate of the image backbone, as a factor on BASE_LR.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    # "WarmupPolyLR", which is ours, or one of Detectron2's.
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    # Poly decay of each parameter group from its own rate to POLY_END_LR: (rate - POLY_END_LR) * (1 - t / T) **
    # POLY_POWER + POLY_END_LR, as mmcv's "poly" with `min_lr` does it for DenseCLIP. A rate below the end stays.
    cfg.SOLVER.POLY_POWER = 0.9
    cfg.SOLVER.POLY_END_LR = 1e-6
    # Forward passes, each of IMS_PER_BATCH / processes / ACCUMULATE images, that make up one step of the optimizer.
    cfg.SOLVER.ACCUMULATE = 1
    # Type of SOLVER.AMP.ENABLED: "float16", with scaled losses, or "bfloat16", for CPUs and for GPUs since Ampere.
    cfg.SOLVER.AMP.PRECISION = "float16"
    # The best checkpoint by this metric of the evaluator is kept, the lowest of "sem_seg/loss"; empty: none.
    cfg.SOLVER.BEST_METRIC = "sem_seg/mIoU"
    # Checkpoints to continue from that are kept, the newest ones; 0: all. The final and the best one stay anyway.
    cfg.SOLVER.CHECKPOINTS_KEPT = 3
    # So many iterations of a training may be left out because a loss is NaN or infinite; one more ends it.
    cfg.SOLVER.SKIP_NON_FINITE = 0

    # --- Evaluation --------------------------------------------------------------------------------------------------
    # Pad images and windows to multiples of 32 pixels, as Detectron2 does. False: a model sees them as they are, from
    # 32 pixels on; layers round down, and maps that meet are brought to one size, as in DenseCLIP. Trainings pad.
    cfg.TEST.PAD_TO_STRIDE = True
    cfg.TEST.SLIDING_WINDOW = CN()
    # False: the whole image at once.
    cfg.TEST.SLIDING_WINDOW.ENABLED = False
    # Side of the square window and its step, in pixels of the resized image.
    cfg.TEST.SLIDING_WINDOW.SIZE = 512
    cfg.TEST.SLIDING_WINDOW.STRIDE = 341
    # Windows of an image that are predicted at once.
    cfg.TEST.SLIDING_WINDOW.BATCH_SIZE = 4

    # Multi-scale testing, with Detectron2's TEST.AUG.ENABLED and TEST.AUG.FLIP (its own sizes are not used): factors
    # on INPUT.MIN_SIZE_TEST and INPUT.MAX_SIZE_TEST, probabilities averaged. 17 times the work: meant for --eval-only.
    cfg.TEST.AUG.SCALES = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]

    cfg.TEST.CROSS_DOMAIN = CN()
    # For each of DATASETS.TEST the list of classes that it shares with the model, which alone are evaluated (Table 9):
    # a file of icpc_d2/data/shared_classes/ without its ending, or the path of one. Empty: all have the model's own.
    cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES = []
    # Classes that the answer is chosen from: "all" of the model's, or the "shared" ones alone. Each that is listed
    # gives figures; the first one's are the data set's mIoU, the others' are named for them.
    cfg.TEST.CROSS_DOMAIN.CANDIDATES = ["all", "shared"]

    cfg.TEST.SEM_SEG = CN()
    # Evaluations ask ICPC for label maps, which it makes without the full-size logits of all classes. False: for
    # logits, as other projects' evaluators want them. What `model(inputs)` returns is logits either way.
    cfg.TEST.SEM_SEG.LABEL_MAPS = True
    # The validation loss beside mIoU, as "loss": the cross-entropy of what is evaluated, the mean over all labelled
    # pixels of the data set, by MODEL.CLASS_WEIGHTS if there are any. Not of a data set of other classes.
    cfg.TEST.SEM_SEG.LOSS = True
    # Detectron2's per-image JSON of predictions and its boundary IoU: both slow.
    cfg.TEST.SEM_SEG.SAVE_PREDICTIONS = False
    cfg.TEST.SEM_SEG.BOUNDARY_IOU = False
    # Pictures (image | label | prediction) that each evaluation writes over those of the one before; 0: none.
    cfg.TEST.SEM_SEG.NUM_PICTURES = 0

    # --- `icpc pretrain`: CLIP's own training, on drawn pictures with captions ----------------------------------------
    cfg.PRETRAIN = CN()
    # Different scenes that are drawn for the training, and those that are kept for its evaluation.
    cfg.PRETRAIN.NUM_SCENES = 14000
    cfg.PRETRAIN.NUM_VAL_SCENES = 1000
    # Styles that the scenes are drawn in, in turns: "day", "night", "line drawing", "snow"; a style may be repeated.
    cfg.PRETRAIN.STYLES = ["day", "day", "day", "night", "line drawing", "snow"]
    # Drawings of each scene, which stand in one batch: the same kinds of things, but in other colours, so that it is
    # their colours that tell the captions apart (but for line drawings, which have none).
    cfg.PRETRAIN.PAINTS = 1
    # Close-ups of each drawing, with captions of their own. Four of them make a mosaic, in which the dense embeddings
    # of each one are compared with all their captions: so A learns about places. 0: whole pictures alone, as CLIP's.
    cfg.PRETRAIN.CLOSE_UPS = 0
    # Folder that the scenes are drawn into once, to be read by all later trainings (0.14 MB each, 0.01 a close-up).
    # Empty: the workers of the loader draw each scene whenever it is its turn.
    cfg.PRETRAIN.CACHE = ""
    # Height and width of the training pictures, and the smallest crop of a scene that is resized to them, as a share of
    # its sides.
    cfg.PRETRAIN.SIZE = [160, 208]
    cfg.PRETRAIN.MIN_CROP = 0.75
    # The most captions of a scene that a picture of the training has, joined to one text; their number is drawn.
    cfg.PRETRAIN.MAX_SENTENCES = 3
    # Temperature of the contrastive loss when training starts; it is learned.
    cfg.PRETRAIN.TEMPERATURE = 0.07

    # --- Reports -----------------------------------------------------------------------------------------------------
    cfg.WANDB = CN()
    # Project of Weights & Biases that a training is reported to; needs `pip install wandb`. Empty: none.
    cfg.WANDB.PROJECT = ""
